// Asks the security key what the page was given to ask, and sends its answer with the form.
"use strict";
const place = document.getElementById("webauthn");
const says = document.getElementById("webauthn-says");
const form = place.closest("form");
const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

function options() {
  const o = JSON.parse(place.dataset.options);
  o.challenge = bytes(o.challenge);
  if (o.user) o.user.id = bytes(o.user.id);
  for (const c of [...(o.excludeCredentials || []), ...(o.allowCredentials || [])]) c.id = bytes(c.id);
  return o;
}

function answer(c) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"])
    if (c.response[name]) response[name] = text(c.response[name]);
  return JSON.stringify({ id: c.id, rawId: text(c.rawId), type: c.type, clientExtensionResults: {}, response });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  says.textContent = "Waiting for the key…";
  try {
    const c = await navigator.credentials[place.dataset.what]({ publicKey: options() });
    form.elements.webauthn.value = answer(c);
    form.submit();
  } catch (e) {
    says.textContent = "The key did not answer: " + e.message;
  }
});
says.textContent = place.dataset.what === "get" ? "Use your security key or passkey." : "Have the key at hand.";
