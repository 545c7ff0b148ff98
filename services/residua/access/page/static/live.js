// Says whether the page still follows the night.
(() => {
  const mark = document.getElementById("live-mark");
  const words = document.getElementById("live-words");
  const say = (on, text) => { mark.classList.toggle("on", on); words.textContent = text; };
  if (!document.querySelector("[sse-connect]")) { say(false, "an older page of the list"); return; }
  say(false, "connecting");
  document.body.addEventListener("htmx:sseOpen", () => say(true, "live"));
  document.body.addEventListener("htmx:sseError", () => say(false, "not connected, trying again"));
})();
