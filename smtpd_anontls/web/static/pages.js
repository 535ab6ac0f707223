// Lists follow what happens: the stream of the API says that something came, and htmx fetches the list anew.
// Where there is no stream the list is looked at every few seconds.  Nothing else here needs a script.
"use strict";

(() => {
  const PAUSE = 2500; // Milliseconds between two looks without a stream.
  const GATHER = 250; // What comes in one burst is fetched once.

  const list = document.querySelector("[data-live]");
  const control = document.querySelector("[data-live-switch]");
  if (list !== null && control !== null) {
    const address = list.dataset.live;
    let stream = null;
    let timer = null;
    let gathering = null;

    const refresh = () => {
      // htmx puts a new list in the place of the old one, or changes it: look for it each time.
      const current = document.getElementById("list");
      if (current !== null && !document.hidden) {
        htmx.trigger(current, "refresh");
      }
    };
    const soon = () => {
      gathering ??= setTimeout(() => { gathering = null; refresh(); }, GATHER);
    };
    const poll = () => { timer ??= setInterval(refresh, PAUSE); };
    const follow = () => {
      stream = new EventSource(address);
      for (const name of ["message", "session", "event"]) {
        stream.addEventListener(name, soon);
      }
      stream.addEventListener("error", () => {
        // A browser opens a broken stream again by itself; one that is refused stays closed.
        if (stream.readyState === EventSource.CLOSED) {
          poll();
        }
      });
    };
    const stop = () => {
      stream?.close();
      clearInterval(timer);
      timer = null;
    };

    control.hidden = false;
    control.addEventListener("click", () => {
      const on = control.getAttribute("aria-pressed") !== "true";
      control.setAttribute("aria-pressed", String(on));
      if (on) {
        refresh();
        follow();
      } else {
        stop();
      }
    });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && control.getAttribute("aria-pressed") === "true") {
        refresh();
      }
    });
    follow();
  }

  // A link into a closed section opens it.
  const open = () => {
    const target = location.hash ? document.getElementById(location.hash.slice(1)) : null;
    target?.closest("details")?.setAttribute("open", "");
  };
  addEventListener("hashchange", open);
  open();

  // Commands can be copied where the browser allows it.
  if (navigator.clipboard) {
    for (const command of document.querySelectorAll("pre.command")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(command.textContent);
        button.textContent = "Copied";
      });
      command.after(button);
    }
  }
})();
