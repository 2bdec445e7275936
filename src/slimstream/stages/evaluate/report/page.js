// Tells what the nearest point of a chart is: to mouse, finger and keyboard (arrow keys, Home, End).
for (const chart of document.querySelectorAll(".chart")) {
  const svg = chart.querySelector("svg"), told = chart.querySelector(".told");
  const points = [...chart.querySelectorAll(".point")];
  const order = (point) => Number(point.id.split("-").pop());
  points.sort((a, b) => order(a) - order(b));
  const centre = (point) => {
    const box = point.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  ring.setAttribute("class", "ring");
  ring.setAttribute("r", "9");
  svg.append(ring);
  const show = (point) => {
    for (const other of points) {
      other.tabIndex = other === point ? 0 : -1; // one tab stop a chart
      document.getElementById(`${other.id}-interval`)?.classList.toggle("active", other === point);
    }
    const use = point.querySelector("use");
    ring.setAttribute("cx", use.getAttribute("x"));
    ring.setAttribute("cy", use.getAttribute("y"));
    const [title, ...facts] = point.dataset.told.split("\n");
    const strong = document.createElement("b");
    strong.textContent = title;
    told.replaceChildren(strong, ...facts.map((fact) => {
      const span = document.createElement("span");
      span.textContent = fact;
      return span;
    }));
  };
  const nearest = (event) => {
    const far = (point) => Math.hypot(...centre(point).map((at, i) => at - [event.clientX, event.clientY][i]));
    const found = points.reduce((a, b) => (far(b) < far(a) ? b : a));
    if (far(found) < 36) show(found);
  };
  svg.addEventListener("pointermove", nearest);
  svg.addEventListener("pointerdown", nearest);
  points.forEach((point, i) => {
    point.querySelector("title")?.remove(); // else the browser shows the same a second time
    point.addEventListener("focus", () => show(point));
    point.addEventListener("keydown", (event) => {
      const to = { ArrowRight: i + 1, ArrowUp: i + 1, ArrowLeft: i - 1, ArrowDown: i - 1, Home: 0, End: points.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      points[Math.min(Math.max(to, 0), points.length - 1)].focus();
    });
  });
  show(points.find((point) => point.matches(".chosen")) ?? points[0]);
}
// Opens the frames of a clip enlarged; a click or the key Escape closes them.
const enlarged = document.querySelector("dialog");
for (const strip of document.querySelectorAll("button.sheet"))
  strip.addEventListener("click", () => {
    const frames = document.createElement("div");
    frames.className = "sheet";
    frames.append(...[...strip.children].map((frame) => frame.cloneNode()));
    enlarged.replaceChildren(frames);
    enlarged.showModal();
  });
enlarged.addEventListener("click", () => enlarged.close());
