// The trust matrix as a grid of cells, the text about the chosen cell, and the table of peers.

const DENSE = 26; // from this many peers on, cells are too small for numbers
const TINY = 60; // from this many on, cells have the smallest size that a pointer can hit
const ROOMY = 12; // up to this many peers, cells are large
const MARKS = { distils: "d", compares: "c", apart: "a" }; // of neighbours with another base, as `trust show` has them

function matrixView(show) {
  let run, top, cells = [], heads = [], chosen = null;

  function begin(next) {
    run = next;
    top = largest(run, true);
    cells = [];
    heads = [];
    const learners = run.peers.map((_, index) => index).filter((index) => run.peers[index].series.rounds.length);
    const upright = run.peers.some((peer) => peer.label.length > 4);
    const kind = "matrix" + (run.peers.length >= DENSE ? " dense" : "") + (run.peers.length >= TINY ? " tiny" : "") + (upright ? "" : " level") + (run.peers.length <= ROOMY ? " roomy" : "");
    const head = el("tr", { role: "row" }, el("td", {}));
    for (const peer of run.peers)
      head.append(el("th", { scope: "col", role: "columnheader", title: peer.name || peer.peer }, el("span", {}, label(peer))));
    const body = el("tbody", { role: "rowgroup" });
    for (const i of learners) {
      const name = el("th", { scope: "row", role: "rowheader", title: run.peers[i].name || run.peers[i].peer });
      const line = el("tr", { role: "row" }, name);
      const row = run.peers.map((_, j) => el("td", { role: "gridcell", tabindex: "-1", "data-i": i, "data-j": j }));
      line.append(...row);
      body.append(line);
      cells.push(row);
      heads.push([i, name]);
    }
    const table = el("table", { class: kind, role: "grid", "aria-labelledby": "trust-title" }, el("thead", { role: "rowgroup" }, head), body);
    table.addEventListener("mouseover", (event) => look(event.target.closest("[data-i]")));
    table.addEventListener("mouseleave", () => read(chosen));
    table.addEventListener("click", (event) => choose(event.target.closest("[data-i]")));
    table.addEventListener("focusin", (event) => choose(event.target.closest("[data-i]")));
    table.addEventListener("keydown", move);
    $("matrix").replaceChildren(table);
    document.querySelector(".numbers").open = run.peers.length < DENSE;
    const steps = el("span", { class: "steps" });
    for (let n = 1; n <= LEVELS; n++) steps.append(el("i", { class: "w" + n }));
    $("scale").replaceChildren("0", steps, (100 * top).toFixed(0) + " %");
    chosen = strongest(learners);
    if (chosen) cellAt(chosen).tabIndex = 0;
  }

  /** Of the first peer that takes anything, from whom it took most at last: a telling place to begin. */
  function strongest(learners) {
    for (const i of learners) {
      const row = weights(run, i, run.peers[i].series.rounds.length - 1);
      const others = row.map((weight, j) => (j === i ? -1 : weight || 0));
      const most = Math.max(...others);
      if (most > 0) return [i, others.indexOf(most)];
    }
    return learners.length ? [learners[0], learners[0]] : null;
  }

  const cellAt = ([i, j]) => cells[heads.findIndex(([index]) => index === i)][j];

  function update() {
    heads.forEach(([i, head], line) => {
      const k = at(run.peers[i], show.round);
      const round = k < 0 ? null : run.peers[i].series.rounds[k];
      const past = round !== null && round !== show.round;
      head.replaceChildren(label(run.peers[i]));
      if (past) head.append(el("small", {}, "round " + round));
      const row = k < 0 ? null : weights(run, i, k);
      const relations = new Map(k < 0 ? [] : run.peers[i].series.seen[k].map((one) => [one[0], one[6]]));
      cells[line].forEach((cell, j) => {
        const own = i === j ? " own" : "";
        cell.className = (row ? level(row[j], top) : "none") + own + (past ? " past" : "");
        const other = row && !(row[j] > 0) && MARKS[relations.get(j)];
        cell.textContent = other || (row ? short(row[j]) : "");
        cell.setAttribute("aria-label", other ? relations.get(j) : row ? percent(row[j]) : "not known");
      });
    });
    mark();
    read(chosen);
    numbers();
  }

  function mark() {
    for (const cell of $("matrix").querySelectorAll(".chosen")) cell.classList.remove("chosen");
    if (chosen) cellAt(chosen).classList.add("chosen");
  }

  const look = (cell) => cell && read([Number(cell.dataset.i), Number(cell.dataset.j)]);

  function choose(cell) {
    if (!cell) return;
    if (chosen) cellAt(chosen).tabIndex = -1;
    chosen = [Number(cell.dataset.i), Number(cell.dataset.j)];
    cell.tabIndex = 0;
    mark();
    read(chosen);
  }

  function move(event) {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!chosen || !(event.key in steps || event.key === "Home" || event.key === "End")) return;
    event.preventDefault();
    const line = heads.findIndex(([index]) => index === chosen[0]);
    const [down, right] = steps[event.key] || [0, event.key === "Home" ? -cells[0].length : cells[0].length];
    const within = (value, count) => Math.min(Math.max(value, 0), count - 1);
    cells[within(line + down, cells.length)][within(chosen[1] + right, cells[0].length)].focus();
  }

  function read(cell) {
    if (!cell) return;
    const [i, j] = cell, peer = run.peers[i], k = at(peer, show.round);
    if (k < 0) {
      $("reading").replaceChildren(el("h3", {}, called(peer)), el("p", {}, "No row by this round."));
      return;
    }
    const series = peer.series, seen = series.seen[k].find((one) => one[0] === j);
    const weight = i === j ? series.self_weight[k] : seen ? seen[1] : 0;
    const facts = el("dl", {});
    const fact = (term, text) => facts.append(el("dt", {}, term), el("dd", {}, text));
    fact("round", String(series.rounds[k]));
    if (i !== j && !seen) fact("evidence", "nothing known of it then");
    if (i !== j && seen) {
      fact("relation", seen[6]);
      if (seen[6] !== "apart") distances(seen).forEach(([term, text]) => fact(term, text));
      fact("its round", String(seen[5]));
      fact("age", plural(seen[4], "round"));
    }
    if (i === j) {
      fact("collaborators", fixed(effective(weights(run, i, k)), 1));
      if (known(series.temperature[k])) fact("temperature", significant(series.temperature[k]));
      fact("merge", series.guard[k]);
      fact("trust loss", fixed(series.trust_alone[k], 4) + " → " + fixed(series.trust_merged[k], 4));
    }
    const title = el("h3", {}, called(peer), i === j ? " keeps of its own" : " takes from ");
    if (i !== j) title.append(called(run.peers[j]));
    $("reading").replaceChildren(title, el("div", { class: "big" }, percent(weight)), facts, spark(i, j));
  }

  /** Pairs of a term and a text; of several kinds one each. */
  function distances(seen) {
    if (!run.kinds.length && seen[2] === 0 && seen[3] === 0) return [];
    const values = [].concat(seen[2]), errors = [].concat(seen[3]);
    return values.map((value, n) => {
      const kind = run.kinds[n] ? " (" + run.kinds[n] + ")" : values.length > 1 ? " " + (n + 1) : "";
      return ["distance" + kind, significant(value) + (errors[n] > 0 ? " ± " + significant(errors[n]) : "")];
    });
  }

  /** The weight of the cell over all rounds. */
  function spark(i, j) {
    const peer = run.peers[i], rounds = peer.series.rounds;
    if (rounds.length < 2) return null;
    const x = (round) => 4 + (252 * (round - rounds[0])) / (rounds[rounds.length - 1] - rounds[0]);
    const y = (weight) => 44 - 40 * Math.sqrt((weight || 0) / top);
    const points = rounds.map((round, k) => [round, weights(run, i, k)[j]]);
    const now = points[at(peer, show.round)];
    return svg("svg", { viewBox: "0 0 260 48", role: "img", "aria-label": "This weight over the rounds" },
      svg("polyline", { class: "spark", points: points.map(([r, w]) => x(r).toFixed(1) + "," + y(w).toFixed(1)).join(" ") }),
      svg("circle", { class: "spark-now", cx: x(now[0]), cy: y(now[1]), r: 3.5 }));
  }

  function numbers() {
    const heading = ["peer", "round", "own", "peers", "trust before", "trust after", "test before", "test after", "change", "temperature", "guard"];
    const head = el("tr", {}, ...heading.map((text) => el("th", { scope: "col" }, text)));
    const body = el("tbody", {});
    for (const [i] of heads) {
      const peer = run.peers[i], k = at(peer, show.round);
      if (k < 0) continue;
      const series = peer.series, change = known(series.test_merged[k]) && known(series.test_alone[k]) ? series.test_merged[k] - series.test_alone[k] : null;
      const texts = [series.rounds[k], fixed(series.self_weight[k], 2), fixed(effective(weights(run, i, k)), 1),
        fixed(series.trust_alone[k], 4), fixed(series.trust_merged[k], 4), fixed(series.test_alone[k], 4), fixed(series.test_merged[k], 4)];
      body.append(el("tr", {}, el("th", { scope: "row" }, label(peer)), ...texts.map((text) => el("td", {}, String(text))),
        el("td", { class: change < 0 ? "better" : change > 0 ? "worse" : null }, signed(change, 4)),
        el("td", {}, known(series.temperature[k]) ? significant(series.temperature[k]) : "–"), el("td", {}, series.guard[k])));
    }
    $("peers").replaceChildren(el("table", { class: "plain" }, el("thead", {}, head), body));
  }

  return { begin, update };
}
