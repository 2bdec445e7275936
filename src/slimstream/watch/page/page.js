"use strict";
// Asks for the state once a second and shows it. Text from outside is only ever set as text.

const SPAN = 15 * 60; // seconds that a strip shows
const COLOURS = ["#3fb6e8", "#f0a73a", "#e8618c", "#8bc34a", "#c9a26b", "#7f8cff", "#2bc4a9", "#e87a4d"];
const GOOD = "#37b26c";
const get = id => document.getElementById(id);
const tiles = new Map();
let colours = new Map();
let shownEvents = "";

function paint(element, state) {
  element.classList.toggle("unknown", state === "unknown");
  element.style.removeProperty("--state");
  if (colours.has(state)) element.style.setProperty("--state", colours.get(state));
}

function nameColours(classes) {
  const others = classes.filter(name => name !== "normal");
  colours = new Map(others.map((name, i) => [name, COLOURS[i % COLOURS.length]]));
  if (classes.includes("normal")) colours.set("normal", GOOD);
  if (get("legend").dataset.classes === String(classes)) return;
  get("legend").dataset.classes = String(classes);
  get("legend").replaceChildren(...[...classes, "unknown"].map(name => {
    const item = document.createElement("li");
    item.textContent = words(name);
    paint(item, name);
    return item;
  }));
}

const words = name => name.replaceAll("_", " ");
const percent = share => `${Math.round(100 * share)} %`;
const clock = seconds => new Date(1000 * seconds).toLocaleTimeString([], { hour12: false });

function ago(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function tile(camera) {
  if (!tiles.has(camera.name)) {
    const made = get("camera").content.cloneNode(true).firstElementChild;
    made.querySelector("h2").textContent = camera.name;
    made.querySelector("h2").title = camera.address;
    get("cameras").append(made);
    tiles.set(camera.name, made);
  }
  return tiles.get(camera.name);
}

function notice(camera) {
  if (camera.status === "gone") return `No picture since ${clock(camera.since)}: ${camera.reason}`;
  if (camera.status === "starting") return "Waits for the first picture";
  if (camera.status === "ended") return camera.reason ? `Ended: ${camera.reason}` : "Ended";
  if (!camera.in_turn) return "This machine is too slow for all cameras: waits for its turn";
  if (camera.behind) return "This machine is too slow: frames are left out";
  if (camera.notice) return camera.notice;
  return camera.reason && `No answer: ${camera.reason}`;
}

function likely(camera) {
  if (camera.label === null) return "";
  const best = Object.entries(camera.probabilities).sort((a, b) => b[1] - a[1])[0];
  const said = camera.label === "unknown" ? `likest ${words(best[0])} ${percent(best[1])}`
    : camera.label === camera.state ? percent(best[1]) : `now ${words(camera.label)} ${percent(best[1])}`;
  return camera.unlikeness === null ? said : `${said}, unlikeness ${camera.unlikeness.toFixed(2)}`;
}

function strip(camera, now) {
  const end = camera.segments.slice(1).map(([time]) => time).concat(now);
  return camera.segments.flatMap(([time, state], i) => {
    const from = Math.max(time, now - SPAN);
    if (end[i] <= from || !state) return [];
    const part = document.createElement("i");
    part.style.left = `${100 * (1 - (now - from) / SPAN)}%`;
    part.style.width = `${100 * (end[i] - from) / SPAN}%`;
    part.title = `${words(state)} from ${clock(time)}`;
    paint(part, state);
    return [part];
  });
}

function frameRegion(shown, [left, top, right, bottom]) {
  const { naturalWidth: width, naturalHeight: height } = shown.querySelector("img");
  const all = left === 0 && top === 0 && right === 1 && bottom === 1;
  const frame = shown.querySelector(".region");
  frame.setAttribute("viewBox", `0 0 ${width} ${height}`); // fits as `object-fit: contain` of the picture does
  const sides = { x: left * width, y: top * height, width: (right - left) * width, height: (bottom - top) * height };
  for (const [name, value] of Object.entries(sides)) frame.firstElementChild.setAttribute(name, all ? 0 : value);
}

function showCamera(camera, now) {
  const shown = tile(camera);
  const find = selector => shown.querySelector(selector);
  paint(shown, camera.status === "gone" ? "" : camera.state);
  shown.classList.toggle("gone", camera.status === "gone");
  find(".notice").textContent = notice(camera);
  find("strong").textContent = camera.state ? words(camera.state) : "–";
  find(".likely").textContent = camera.status === "gone" ? `${ago(now - camera.since)} ago` : likely(camera);
  const dropped = camera.dropped ? ` · ${camera.dropped} dropped` : "";
  find(".numbers").textContent = `${camera.fps.toFixed(0)} fps · ${Math.round(1000 * camera.latency)} ms${dropped}`;
  find(".strip").replaceChildren(...strip(camera, now));
  find(".strip").setAttribute("aria-label", `States of the last ${SPAN / 60} minutes`);
  if (!camera.frames || (camera.status !== "live" && find("img").src)) return;
  const next = new Image(); // swapped when it is whole, so that nothing flickers
  next.alt = `${camera.name}: ${camera.state ?? "no state yet"}`;
  next.onload = () => {
    find("img").replaceWith(next);
    frameRegion(shown, camera.region);
  };
  next.src = `pictures/${encodeURIComponent(camera.name)}?${Date.now()}`;
}

function sure(event) {
  const told = event.state === "unknown" && event.unlikeness !== null;
  return told ? `(unlikeness ${event.unlikeness.toFixed(2)})` : percent(event.probability);
}

function showEvents(events) {
  const key = events.length ? events[0].time + events.length : "";
  if (key === shownEvents) return;
  shownEvents = key;
  get("none").hidden = events.length > 0;
  get("events").replaceChildren(...events.map(event => {
    const item = get("event").content.cloneNode(true).firstElementChild;
    const time = new Date(event.time);
    item.querySelector("time").textContent = `${time.toLocaleTimeString([], { hour12: false })} · ${event.camera}`;
    item.querySelector("time").dateTime = event.time;
    item.querySelector("span").textContent = event.kind === "gone" ? `no picture: ${event.reason}`
      : event.kind === "back" ? "sends pictures again"
      : event.kind !== "state" ? event.text
      : `${words(event.state)} ${sure(event)}${event.before ? `, was ${words(event.before)}` : ""}`;
    paint(item, event.state);
    item.classList.toggle("gone", event.kind === "gone");
    const button = item.querySelector("button");
    button.hidden = !event.clip;
    button.onclick = () => {
      get("player").querySelector("video").src = `clips/${encodeURIComponent(event.clip)}`;
      get("player").querySelector("p").textContent = event.text;
      get("player").showModal();
    };
    return item;
  }));
}

function showModel(model) {
  get("model").textContent = model.name;
  document.title = `watch: ${model.name}`;
  const gate = { passed: "passed the gate", refused: "was refused by the gate" }[model.gate] ?? "";
  const score = model.macro_f1 ? `macro-F1 ${Number(model.macro_f1).toFixed(2)}` : "";
  get("verdict").textContent = [gate, score, `answers since ${clock(model.since)}`].filter(Boolean).join(" · ");
  get("verdict").title = model.reasons;
}

function alarm(text) {
  get("alarm").textContent = text;
  get("alarm").hidden = !text;
}

async function look() {
  try {
    const answer = await fetch("state", { cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const state = await answer.json();
    nameColours(state.model.classes);
    showModel(state.model);
    alarm(state.model.problem);
    const columns = Math.ceil(Math.sqrt(state.cameras.length));
    get("cameras").style.setProperty("--columns", columns);
    for (const camera of state.cameras) showCamera(camera, state.now);
    showEvents(state.events);
    get("inbox").hidden = state.inbox === null;
    get("inbox").textContent = `Inbox ${state.inbox}`;
    get("clock").textContent = clock(state.now);
  } catch (error) {
    alarm(`This page gets no news from watch (${error.message}): what it shows is old.`);
  }
  setTimeout(look, 1000);
}

get("player").addEventListener("close", () => get("player").querySelector("video").pause());
look();
