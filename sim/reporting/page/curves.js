// Losses by round. The legend shows the values of the round under the pointer, or else of the page's round.

const CURVES_HEIGHT = 340, CURVES_LEFT = 44, CURVES_BELOW = 34;

function curvesView(show) {
  let run, split = "test", hidden = new Set(), plot = null, bright = null;
  const place = $("curves");
  choices($("splits"), "split", [["test", "test text"], ["trust", "trust text"]], (value) => { split = value; draw(); });
  new ResizeObserver(() => { if (run && plot && Math.abs(place.clientWidth - plot.width) > 2) draw(); }).observe(place);

  function begin(next) {
    run = next;
    hidden = new Set();
    bright = null;
    $("legend").replaceChildren();
    draw();
  }

  const writers = () => run.peers.map((_, index) => index).filter((index) => run.peers[index].series.rounds.length);
  const lossesOf = (index) => [run.peers[index].series[split + "_alone"], run.peers[index].series[split + "_merged"]];

  function draw() {
    const width = Math.max(280, place.clientWidth), rounds = run.rounds;
    const shown = writers().filter((index) => !hidden.has(index));
    const values = shown.flatMap((index) => lossesOf(index).flat()).filter(known);
    let low = Math.min(...values), high = Math.max(...values);
    if (!values.length) [low, high] = [0, 1];
    const margin = (high - low) * 0.05 || Math.max(0.5, Math.abs(high) * 0.05);
    low -= margin;
    high += margin;
    const first = rounds[0], span = rounds[rounds.length - 1] - first || 1;
    const x = (round) => CURVES_LEFT + ((width - CURVES_LEFT - 12) * (round - first)) / span;
    const y = (loss) => 10 + (CURVES_HEIGHT - CURVES_BELOW - 10) * ((high - loss) / (high - low));
    const picture = svg("svg", { viewBox: `0 0 ${width} ${CURVES_HEIGHT}`, role: "img", "aria-label": "Loss of each peer over the rounds; the values at the chosen round stand in the table beside it" });
    for (const loss of ticks(low, high, 5))
      picture.append(svg("line", { class: "grid", x1: CURVES_LEFT, x2: width - 12, y1: y(loss), y2: y(loss) }),
        svg("text", { class: "tick", x: CURVES_LEFT - 8, y: y(loss) + 4, "text-anchor": "end" }, String(loss)));
    for (const round of ticks(first, first + span, Math.min(10, width / 70)).filter(Number.isInteger))
      picture.append(svg("text", { class: "tick", x: x(round), y: CURVES_HEIGHT - 16, "text-anchor": "middle" }, String(round)));
    picture.append(svg("text", { class: "tick", x: width - 12, y: CURVES_HEIGHT - 2, "text-anchor": "end" }, "round"));
    for (const index of shown) {
      const peer = run.peers[index];
      lossesOf(index).forEach((losses, kind) => {
        const path = line(peer.series.rounds.map((round, k) => (known(losses[k]) ? [x(round), y(losses[k])] : null)));
        picture.append(svg("path", { class: `curve ${colour(index)}${kind ? "" : " alone"}`, d: path, "data-peer": index }));
      });
    }
    const marks = svg("g", {});
    picture.append(marks);
    picture.addEventListener("pointermove", (event) => point(event));
    picture.addEventListener("pointerleave", () => cursor(show.round));
    place.replaceChildren(picture);
    plot = { width, x, y, marks, shown, picture };
    cursor(show.round);
    light(bright);
  }

  /** A path with gaps where there is no number; a single point is a short stroke. */
  function line(points) {
    let path = "", pen = false, alone = true;
    points.forEach((point) => {
      if (!point) { pen = false; return; }
      alone = alone && !pen;
      path += (pen ? "L" : "M") + point[0].toFixed(1) + " " + point[1].toFixed(1);
      pen = true;
    });
    return alone ? path.replace(/M(\S+) (\S+)/g, "M$1 $2h4") : path;
  }

  function point(event) {
    const box = plot.picture.getBoundingClientRect(), px = ((event.clientX - box.left) * plot.width) / box.width;
    const nearest = run.rounds.reduce((best, round) => (Math.abs(plot.x(round) - px) < Math.abs(plot.x(best) - px) ? round : best));
    cursor(nearest);
  }

  function cursor(round) {
    const at_x = plot.x(round);
    plot.marks.replaceChildren(svg("line", { class: "cursor", x1: at_x, x2: at_x, y1: 10, y2: CURVES_HEIGHT - CURVES_BELOW }));
    for (const index of plot.shown) {
      const k = run.peers[index].series.rounds.indexOf(round), merged = lossesOf(index)[1];
      if (k >= 0 && known(merged[k])) plot.marks.append(svg("circle", { class: "dot " + colour(index), cx: at_x, cy: plot.y(merged[k]), r: 4 }));
    }
    legend(round);
  }

  function legend(round) {
    const table = $("legend").querySelector("table");
    if (!table) build();
    $("legend").querySelector("thead th").textContent = "round " + round;
    for (const index of writers()) {
      const k = run.peers[index].series.rounds.indexOf(round), [alone, merged] = lossesOf(index);
      const [before, after] = $("legend").querySelectorAll(`[data-values="${index}"]`);
      before.textContent = k < 0 ? "–" : fixed(alone[k], 3);
      after.textContent = k < 0 ? "–" : fixed(merged[k], 3);
    }
  }

  function build() {
    const head = el("tr", {}, el("th", { scope: "col" }), el("th", { scope: "col" }, "alone"), el("th", { scope: "col" }, "merged"));
    const body = el("tbody", {});
    for (const index of writers()) {
      const button = el("button", { type: "button", "aria-pressed": "true", title: "Show or hide" }, el("i", { class: colour(index) }), label(run.peers[index]));
      button.addEventListener("click", () => {
        if (!hidden.delete(index)) hidden.add(index);
        button.setAttribute("aria-pressed", String(!hidden.has(index)));
        draw();
      });
      const row = el("tr", {}, el("th", { scope: "row" }, button), el("td", { "data-values": index }), el("td", { "data-values": index }));
      row.addEventListener("mouseenter", () => light(index));
      row.addEventListener("mouseleave", () => light(null));
      body.append(row);
    }
    $("legend").replaceChildren(el("table", {}, el("thead", {}, head), body));
  }

  function light(index) {
    bright = index;
    for (const curve of place.querySelectorAll(".curve"))
      curve.classList.toggle("dimmed", index !== null && Number(curve.dataset.peer) !== index);
  }

  return { begin, update: () => cursor(show.round) };
}
