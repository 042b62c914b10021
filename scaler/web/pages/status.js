"use strict";
const REFRESH_MS = 5000, TIMEOUT_MS = 4000;

async function refresh() {
  const reading = document.hidden || getSelection().type === "Range";
  if (!reading) {
    try {
      const response = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
      if (!response.ok) throw new Error(response.statusText);
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      document.title = fresh.title;
      document.querySelector("main").replaceWith(fresh.querySelector("main"));
    } catch {
      document.getElementById("stale").hidden = false;
    }
  }
  setTimeout(refresh, REFRESH_MS);
}

setTimeout(refresh, REFRESH_MS);
