"""A certificate authority for tests: server certificates, and a key that signs tokens."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

__all__ = ["Certificates", "TokenIssuer", "make_certificates", "make_token_issuer"]

_VALID = timedelta(days=2)


@dataclass(frozen=True)
class Certificates:
    """PEM files of an authority and of the server it vouches for (127.0.0.1 and localhost).

    Parameters
    ----------
    authority
        Certificate of the authority: what clients trust.
    server
        Key (PKCS 8, unencrypted) and certificate chain of the server, in one file.
    """

    authority: Path
    server: Path


def make_certificates(directory: Path) -> Certificates:
    """Write a fresh authority and a server certificate into a directory."""
    authority_key, server_key = _key(), _key()
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Residua test authority")])
    authority = (
        _builder(authority_name, authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    server = (
        _builder(server_name, authority_name, server_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    made = Certificates(directory / "authority.pem", directory / "server.pem")
    made.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    chain = server.public_bytes(serialization.Encoding.PEM)
    made.server.write_bytes(_pem(server_key) + chain)
    made.server.chmod(0o600)
    return made


@dataclass(frozen=True)
class TokenIssuer:
    """Signs access tokens; whoever holds `key_set` (a JWKS file) can check them.

    Parameters
    ----------
    key_set
        The public key as a JSON Web Key Set.
    issuer, audience
        Claims ``iss`` and ``aud``.
    private_key
        PEM of the signing key.
    """

    key_set: Path
    issuer: str
    audience: str
    private_key: bytes

    def token(self, subject: str, *, lifetime: float = 3600.0) -> str:
        """Make a signed token (RS256) for ``subject``, valid for ``lifetime`` seconds."""
        now = int(time.time())
        claims = {
            "sub": subject,
            "iss": self.issuer,
            "aud": self.audience,
            "iat": now,
            "exp": now + int(lifetime),
            "scope": "kafka",
        }
        return jwt.encode(claims, self.private_key, algorithm="RS256", headers={"kid": "test"})


def make_token_issuer(directory: Path) -> TokenIssuer:
    """Make a signing key and write its key set into a directory."""
    key = _key()
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    path = directory / "jwks.json"
    keys = {"keys": [{**public, "kid": "test", "use": "sig", "alg": "RS256"}]}
    path.write_text(json.dumps(keys), encoding="utf-8")
    return TokenIssuer(path, "https://tokens.residua.test", "kafka", _pem(key))


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _VALID)
    )


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
