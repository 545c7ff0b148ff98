"""How Kafka clients prove who they are, and encrypt: SASL (SCRAM, OAUTHBEARER) and TLS.

Credentials come from settings (`~pydantic.SecretStr`) or from mounted files, and appear in no
log. Files are read when a client starts, the token's at each login: rotated ones are taken up.
"""

import asyncio
import json
import ssl
import time
import urllib.parse
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any, Literal, Self, override

from aiokafka.abc import AbstractTokenProvider
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["KafkaSecurity", "aiokafka_security", "faust_credentials"]

_TOKEN_SECONDS = 10.0
_MOST_TOKEN_BYTES = 65_536


class KafkaSecurity(BaseSettings):
    """Settings of the wire's security; without any, the wire is plain."""

    model_config = SettingsConfigDict(env_prefix="RESIDUA_", extra="ignore", frozen=True)

    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Kafka's security.protocol."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512", description="Kafka's sasl.mechanism, with a SASL protocol."
    )
    kafka_username: str | None = Field(None, description="User name for PLAIN and SCRAM.")
    kafka_password: SecretStr | None = Field(None, description="Password for PLAIN and SCRAM.")
    kafka_password_file: Path | None = Field(None, description="File that holds the password.")
    kafka_token_file: Path | None = Field(
        None, description="File that holds the access token for OAUTHBEARER; read at each login."
    )
    kafka_token_url: str | None = Field(
        None, description="Token endpoint (https) for OAUTHBEARER with client credentials."
    )
    kafka_client_id: str | None = Field(None, description="OAuth 2.0 client at the endpoint.")
    kafka_client_secret: SecretStr | None = Field(None, description="Secret of that client.")
    kafka_client_secret_file: Path | None = Field(None, description="File that holds the secret.")
    kafka_token_scope: str | None = Field(None, description="Scope asked for at the endpoint.")
    kafka_ca_file: Path | None = Field(
        None, description="PEM of the authorities to trust instead of the system's, for TLS."
    )
    kafka_certificate_file: Path | None = Field(
        None, description="PEM of the client's certificate, for mutual TLS."
    )
    kafka_key_file: Path | None = Field(
        None, description="PEM of its key, when it is not in the same file."
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if not self.kafka_security_protocol.startswith("SASL"):
            return self
        if self.kafka_sasl_mechanism != "OAUTHBEARER":
            if self.kafka_username is None:
                raise ValueError(f"{self.kafka_sasl_mechanism} needs kafka_username")
            if self.kafka_password is None and self.kafka_password_file is None:
                raise ValueError(
                    f"{self.kafka_sasl_mechanism} needs kafka_password or kafka_password_file"
                )
        elif self.kafka_token_url is not None:
            if not self.kafka_token_url.startswith(("https://", "http://127.0.0.1:")):
                raise ValueError("kafka_token_url must be https: a secret is sent there")
            if self.kafka_client_id is None or (
                self.kafka_client_secret is None and self.kafka_client_secret_file is None
            ):
                raise ValueError(
                    "kafka_token_url needs kafka_client_id and kafka_client_secret(_file)"
                )
        elif self.kafka_token_file is None:
            raise ValueError("OAUTHBEARER needs kafka_token_file or kafka_token_url")
        return self


def aiokafka_security(settings: KafkaSecurity) -> dict[str, Any]:
    """Arguments of aiokafka's clients; empty for a plain wire.

    Raises
    ------
    OSError
        A file that is named cannot be read.
    """
    protocol = settings.kafka_security_protocol
    if protocol == "PLAINTEXT":
        return {}
    options: dict[str, Any] = {"security_protocol": protocol}
    if protocol.endswith("SSL"):
        options["ssl_context"] = _tls(settings)
    if protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        if settings.kafka_sasl_mechanism == "OAUTHBEARER":
            options["sasl_oauth_token_provider"] = _TokenProvider(settings)
        else:
            options["sasl_plain_username"] = settings.kafka_username
            options["sasl_plain_password"] = _secret(
                settings.kafka_password, settings.kafka_password_file
            )
    return options


def faust_credentials(settings: KafkaSecurity) -> Any:
    """Value of faust's ``broker_credentials``; `None` for a plain wire."""
    import faust

    options = aiokafka_security(settings)
    if not options:
        return None
    context = options.get("ssl_context")
    if "sasl_mechanism" not in options:
        return faust.SSLCredentials(context)
    if "sasl_oauth_token_provider" in options:
        return faust.OAuthCredentials(
            oauth_cb=options["sasl_oauth_token_provider"], ssl_context=context
        )
    return faust.SASLCredentials(
        username=options["sasl_plain_username"],
        password=options["sasl_plain_password"],
        mechanism=options["sasl_mechanism"],
        ssl_context=context,
    )


def _tls(settings: KafkaSecurity) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.kafka_ca_file)
    if settings.kafka_certificate_file is not None:
        context.load_cert_chain(settings.kafka_certificate_file, settings.kafka_key_file)
    return context


def _secret(value: SecretStr | None, file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").strip()
    assert value is not None
    return value.get_secret_value()


class _TokenProvider(AbstractTokenProvider):
    """The token of the file, or of the endpoint, kept until most of its life is over."""

    def __init__(self, settings: KafkaSecurity) -> None:
        self._settings = settings
        self._token = ""
        self._good_until = 0.0

    @override
    async def token(self) -> str:
        """Return an access token; raises OSError or ValueError when there is none."""
        file = self._settings.kafka_token_file
        if self._settings.kafka_token_url is None:
            assert file is not None
            return await asyncio.to_thread(_secret, None, file)
        if time.monotonic() >= self._good_until:
            self._token, lifetime = await asyncio.to_thread(_ask_for_token, self._settings)
            self._good_until = time.monotonic() + 0.8 * lifetime
        return self._token


def _ask_for_token(settings: KafkaSecurity) -> tuple[str, float]:
    """Ask the endpoint by the client credentials grant (RFC 6749, section 4.4)."""
    assert settings.kafka_token_url is not None
    assert settings.kafka_client_id is not None
    secret = _secret(settings.kafka_client_secret, settings.kafka_client_secret_file)
    names = [urllib.parse.quote(word, safe="") for word in (settings.kafka_client_id, secret)]
    form = {"grant_type": "client_credentials"}
    if settings.kafka_token_scope is not None:
        form["scope"] = settings.kafka_token_scope
    request = urllib.request.Request(  # noqa: S310 the scheme was checked
        settings.kafka_token_url,
        data=urllib.parse.urlencode(form).encode(),
        headers={"Authorization": "Basic " + b64encode(":".join(names).encode()).decode()},
    )
    with urllib.request.urlopen(request, timeout=_TOKEN_SECONDS) as response:  # noqa: S310
        answer = json.loads(response.read(_MOST_TOKEN_BYTES))
    token = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(token, str):
        raise ValueError(f"{settings.kafka_token_url} answered without an access_token")  # noqa: TRY004
    return token, float(answer.get("expires_in", 60.0))
