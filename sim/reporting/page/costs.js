// Costs of a run for each peer: seconds by phase, bytes by kind. Totals of the whole run, whatever round is shown.

const PHASES = [["train_s", "train", "c0"], ["gather_s", "gather", "c8"], ["merge_s", "merge", "c6"]];

function costsView() {
  let run, way = "sent";
  choices($("ways"), "way", [["sent", "sent"], ["received", "received"]], (value) => { way = value; bytesTable(); });

  function begin(next) {
    run = next;
    timesTable();
    bytesTable();
  }

  const writers = () => run.peers.filter((peer) => peer.totals && peer.totals.rounds);

  function timesTable() {
    const rows = writers().map((peer) => [peer, PHASES.map(([key]) => peer.totals[key] / peer.totals.rounds)]);
    const text = (seconds) => (seconds >= 100 ? seconds.toFixed(0) : seconds.toFixed(2));
    $("times").replaceChildren(table(rows, PHASES.map(([, name, kind]) => [name, kind]), text),
      el("p", { class: "terms" }, "Mean over all rounds" + (run.method === null ? "." : ", by the simulation's clock.")));
  }

  function bytesTable() {
    const kinds = [...new Set(writers().flatMap((peer) => Object.keys(peer.totals[way])))].sort();
    const rows = writers().map((peer) => [peer, kinds.map((kind) => peer.totals[way][kind] || 0)]);
    $("bytes").replaceChildren(table(rows, kinds.map((kind, index) => [kind, "c" + ((index * 3 + 1) % COLOURS)]), bytes),
      el("p", { class: "terms" }, "Of the whole run, restarts included."));
  }

  /** A bar for each peer, in parts, and the numbers beside it; the longest bar fills its column. */
  function table(rows, parts, text) {
    const sum = (values) => values.reduce((total, value) => total + (value || 0), 0);
    const longest = Math.max(...rows.map(([, values]) => sum(values))) || 1;
    const head = el("tr", {}, el("th", { scope: "col" }, "peer"), el("td", { class: "track" }));
    for (const [name, kind] of parts) head.append(el("th", { scope: "col" }, el("span", { class: "key " + kind }), name));
    head.append(el("th", { scope: "col" }, "total"));
    const body = el("tbody", {});
    for (const [peer, values] of rows) {
      const track = el("span", {});
      values.forEach((value, index) => {
        const piece = el("i", { class: parts[index][1], title: parts[index][0] + " " + text(value || 0) });
        piece.style.width = (100 * (value || 0)) / longest + "%";
        track.append(piece);
      });
      body.append(el("tr", {}, el("th", { scope: "row" }, label(peer)), el("td", { class: "track", "aria-hidden": "true" }, track),
        ...values.map((value) => el("td", {}, text(value || 0))), el("td", {}, text(sum(values)))));
    }
    return el("table", { class: "plain" }, el("thead", {}, head), body);
  }

  return { begin };
}
