"use strict";
const EVERY_MS = 5000, ANSWER_MS = 4000;

async function refresh() {
  const reading = document.hidden || getSelection().type === "Range";
  if (!reading) {
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
      if (!answer.ok) throw new Error(answer.statusText);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.title = fresh.title;
      document.querySelector("main").replaceWith(fresh.querySelector("main"));
    } catch {
      document.getElementById("stale").hidden = false;
    }
  }
  setTimeout(refresh, EVERY_MS);
}

setTimeout(refresh, EVERY_MS);
