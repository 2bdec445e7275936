"use strict";
// Shows what is open and sends what a person decides. Text from outside is only ever set as text.

const get = id => document.getElementById(id);
const words = name => name.replaceAll("_", " ");
const percent = share => `${Math.round(100 * share)} %`;
let open = [], states = [], decided = [];
let current = null; // id of what is shown
let shownClip = null;
let busy = false;
let newest = ""; // what was taken last, as text

function make(tag, text, more = {}) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  Object.assign(made, more);
  return made;
}

function when(time) {
  return time && new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "medium", hour12: false });
}

function reason(item) {
  if (item.why === "unknown") return `like nothing learnt from (unlikeness ${item.unlikeness.toFixed(2)})`;
  if (item.why === "uncertain") return "the two likeliest states are close";
  if (item.why === "disagreeing") return `answered ${words(item.answer)} while the state was ${words(item.state)}`;
  return `a training clip labelled ${words(item.state)}`;
}

function key(name) {
  return make("kbd", name);
}

function showItem(item) {
  get("item").hidden = !item;
  get("empty").hidden = Boolean(item);
  if (!item) {
    shownClip = null;
    get("screen").replaceChildren();
    return;
  }
  get("why").textContent = item.why;
  get("why").className = `w-${item.why}`;
  get("where").textContent = item.where;
  get("when").textContent = [when(item.time), reason(item)].filter(Boolean).join(" · ");
  get("likely").replaceChildren(...item.likely.map(([name, share]) => {
    const line = make("li");
    const bar = make("i");
    bar.style.width = `${100 * share}%`;
    line.append(bar, make("span", words(name)), make("span", percent(share)));
    return line;
  }));
  const suspected = item.why === "suspected";
  get("states").replaceChildren(...states.map((state, i) => {
    const button = make("button", "", { onclick: () => label(state) });
    if (i < 9) button.append(key(i + 1));
    button.append(words(state));
    button.classList.toggle("likeliest", state === item.likely[0]?.[0]);
    return button;
  }));
  const other = make("button", "", { id: "other", onclick: askName });
  other.append(key("N"), "New state …");
  get("states").append(other);
  get("dismiss").replaceChildren(key("X"), suspected ? "The label is right" : "Nonsense");
  if (shownClip !== item.id) {
    shownClip = item.id;
    get("new").hidden = true;
    const address = `inbox/clips/${encodeURIComponent(item.id)}`;
    const failed = () => get("screen").replaceChildren(make("p", "This clip cannot be shown here."));
    const screen = item.picture ? make("img", "", { src: address, alt: item.where, onerror: failed })
      : make("video", "", { src: address, autoplay: true, loop: true, muted: true, controls: true,
                            playsInline: true, onerror: failed });
    get("screen").replaceChildren(screen);
  }
}

function show() {
  if (!open.some(item => item.id === current)) current = open[0]?.id ?? null;
  showItem(open.find(item => item.id === current));
  get("open").replaceChildren(...open.map(item => {
    const line = make("li"), button = make("button", item.where, { onclick: () => go(item.id) });
    button.className = `w-${item.why}`;
    button.append(make("small", [item.why, when(item.time)].filter(Boolean).join(" · ")));
    if (item.id === current) button.setAttribute("aria-current", "true");
    line.append(button);
    return line;
  }));
  get("undo").hidden = !decided.length;
  get("decided").replaceChildren(...decided.map(done => {
    const line = make("li", done.label ? words(done.label) : "nonsense");
    line.append(make("small", [done.where, when(done.time)].filter(Boolean).join(" · ")));
    return line;
  }));
}

function take(all) {
  // What was decided on this page last comes first; after a reload, what is newest.
  newest = JSON.stringify(all);
  const order = decided.map(done => done.id);
  ({ open, states, decided } = all);
  const place = done => (order.indexOf(done.id) + 1) || Infinity;
  if (order.length) decided.sort((a, b) => place(a) - place(b));
  get("count").textContent = `${open.length} open · ${all.labelled} labelled`;
  document.title = `Inbox ${open.length}`;
  show();
}

function alarm(text) {
  get("alarm").textContent = text;
  get("alarm").hidden = !text;
}

async function ask(path, body) {
  const how = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, { cache: "no-store", ...how });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(typeof said.detail === "string" ? said.detail : `status ${answer.status}`);
  return said;
}

async function decide(id, body) {
  if (busy || !id) return;
  busy = true;
  const place = open.findIndex(item => item.id === id);
  try {
    const all = await ask(`inbox/items/${encodeURIComponent(id)}`, body);
    alarm("");
    if (body.action === "undo") {
      decided = decided.filter(done => done.id !== id);
      current = id;
    } else {
      current = (open[place + 1] ?? open[place - 1])?.id ?? null;
      decided = [{ id }, ...decided];
    }
    take(all);
  } catch (error) {
    alarm(error.message);
  }
  busy = false;
}

const label = state => decide(current, { action: "label", state });

function askName() {
  get("new").hidden = false;
  get("name").value = "";
  get("name").focus();
}

function go(id) {
  current = id ?? current;
  show();
}

function step(by) {
  const place = open.findIndex(item => item.id === current);
  go(open[Math.min(Math.max(place + by, 0), open.length - 1)]?.id);
}

const undo = () => decide(decided[0]?.id, { action: "undo" });
const dismiss = () => decide(current, { action: "dismiss" });

get("new").addEventListener("submit", event => {
  event.preventDefault();
  if (get("name").value.trim()) label(get("name").value);
});
get("dismiss").onclick = dismiss;
get("undo").onclick = undo;
get("back").onclick = () => step(-1);
get("next").onclick = () => step(1);
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.tagName === "INPUT") {
    if (event.key === "Escape") get("new").hidden = true;
    return;
  }
  const number = Number(event.key);
  const does = { n: askName, x: dismiss, u: undo, ArrowLeft: () => step(-1), ArrowUp: () => step(-1),
                 ArrowRight: () => step(1), ArrowDown: () => step(1) };
  const call = does[event.key] ?? does[event.key.toLowerCase()];
  if (number >= 1 && number <= states.length) label(states[number - 1]);
  else if (call) call();
  else return;
  event.preventDefault();
});

async function look() {
  if (!busy) {
    try {
      const all = await ask("inbox/items");
      if (!busy && newest !== JSON.stringify(all)) take(all); // a button that has the focus keeps it
      if (get("alarm").dataset.news) alarm("");
      delete get("alarm").dataset.news;
    } catch (error) {
      alarm(`This page gets no news from watch (${error.message}): what it shows is old.`);
      get("alarm").dataset.news = "none";
    }
  }
  setTimeout(look, 5000);
}
look();
