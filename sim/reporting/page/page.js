// The state of the page: the run and the round that are shown. Every view draws from it.

const STEP_MS = 450;
const data = JSON.parse($("data").textContent);
const show = { run: data.first, round: 0 };
for (const part of document.querySelectorAll(".drawn")) part.hidden = false;
$("bar").hidden = false;

const matrix = matrixView(show), network = networkView(show), curves = curvesView(show), costs = costsView();
const slider = $("round"), play = $("play");
let timer = null;

function begin(index) {
  stop();
  show.run = index;
  const run = data.runs[index];
  slider.max = run.rounds.length - 1;
  slider.value = slider.max;
  slider.disabled = play.disabled = run.rounds.length < 2;
  show.round = run.rounds[run.rounds.length - 1];
  matrix.begin(run);
  network.begin(run);
  curves.begin(run);
  costs.begin(run);
  turn();
}

function turn() {
  const rounds = data.runs[show.run].rounds;
  show.round = rounds[Number(slider.value)];
  const text = show.round + " of " + rounds[rounds.length - 1];
  $("round-text").textContent = text;
  slider.setAttribute("aria-valuetext", "round " + text);
  matrix.update();
  network.update();
  curves.update();
}

function stop() {
  clearInterval(timer);
  timer = null;
  play.firstElementChild.textContent = "▶";
  play.setAttribute("aria-label", "Play the rounds");
  $("reading").setAttribute("aria-live", "polite");
}

function start() {
  if (slider.value === slider.max) slider.value = 0;
  play.firstElementChild.textContent = "❚❚";
  play.setAttribute("aria-label", "Pause");
  $("reading").setAttribute("aria-live", "off");
  timer = setInterval(() => {
    slider.value = Number(slider.value) + 1;
    turn();
    if (slider.value === slider.max) stop();
  }, STEP_MS);
  turn();
}

slider.addEventListener("input", () => { stop(); turn(); });
play.addEventListener("click", () => (timer === null ? start() : stop()));
const menu = $("run");
if (menu) menu.addEventListener("change", () => begin(Number(menu.value)));
for (const button of document.querySelectorAll("[data-method]"))
  button.addEventListener("click", () => {
    const index = data.runs.findIndex((run) => run.method === button.dataset.method);
    if (index < 0 || !menu) return;
    menu.value = index;
    begin(index);
    $("trust-title").focus();
  });

begin(show.run);
