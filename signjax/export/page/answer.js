// Draws one answer: the digit, the bars, what the network saw, and words for all.

const MOST_BARS = 10; // of more classes the likeliest
const STEADY = 800; // milliseconds after which an answer is spoken

const at = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(share > 0.995 && share < 1 ? 1 : 0)}%`;

let record, rows;
let spoken = "", candidate = "", since = 0;
let times = [];

export function introduce(model) {
  record = model;
  const { classes, image_size: size, scores } = record;
  const digits = classes.every((name) => /^\d$/.test(name));
  at("title").textContent = document.title = digits ? "Sign a digit" : "Show a picture";
  at("size").textContent = `${size} × ${size} pixels`;
  at("seen").width = at("seen").height = size;
  const known = classes.length > 12 ? `${classes.length} classes` : classes.join(", ");
  const learned = scores?.trained_on_count;
  const kind = learned ? `images, ${learned} of which it learned from` : "test images";
  const accuracy = scores
    ? `; right on ${percent(scores.accuracy)} of ${scores.count} ${kind}` : "";
  const sure = record.threshold
    ? ` It says “unsure” below a confidence of ${percent(record.threshold)}.`
    : " It always answers, even where there is nothing to answer.";
  at("about").textContent =
    `Model: ${record.name}, knows ${known}${accuracy}.${sure} Licence: ${record.licence.reason}.`;
  const bars = at("bars");
  bars.classList.toggle("long", classes.some((name) => name.length > 3));
  rows = classes.slice(0, MOST_BARS).map(() => {
    const row = document.createElement("li");
    for (const part of ["name", "track", "percent"]) {
      const span = document.createElement("span");
      span.className = part;
      row.append(span);
    }
    const fill = document.createElement("span");
    fill.className = "fill";
    fill.style.display = "block";
    row.children[1].append(fill);
    bars.append(row);
    return { row, fill, name: row.children[0], percent: row.children[2] };
  });
  clear();
}

export function clear() {
  draw(record.classes.map(() => 0), -1);
  say("–", "none", "", "No picture yet.");
  times = [];
  spoken = candidate = at("spoken").textContent = "";
  at("speed").textContent = "–";
  at("seen").getContext("2d").clearRect(0, 0, at("seen").width, at("seen").height);
}

// streaming: whether it is one of many, whose number a second is told.
export function show({ probabilities, label, seen, milliseconds }, streaming) {
  const likeliest = probabilities.indexOf(Math.max(...probabilities));
  const name = record.classes[likeliest];
  const confidence = percent(probabilities[likeliest]);
  const unsure = label < 0;
  draw(probabilities, likeliest, unsure);
  if (unsure) {
    const needed = percent(record.threshold);
    say("?", "unsure", "Unsure", `Likeliest ${name}, ${confidence}, below ${needed}.`);
  } else {
    say(name, "", `${confidence} sure`, "");
  }
  announce(unsure ? "unsure" : `${name}, ${confidence} sure`, unsure ? "" : name, streaming);
  drawSeen(seen);
  tellSpeed(milliseconds, streaming);
}

function say(digit, kind, strong, rest) {
  at("digit").textContent = digit;
  at("digit").className = `digit ${kind} ${digit.length > 3 ? "long" : ""}`;
  const bold = document.createElement("strong");
  bold.textContent = strong;
  at("words").replaceChildren(...(strong ? [bold] : []), rest);
}

function draw(probabilities, likeliest, unsure = false) {
  let order = probabilities.map((_, index) => index);
  if (order.length > MOST_BARS) order.sort((a, b) => probabilities[b] - probabilities[a]);
  rows.forEach(({ row, fill, name, percent: share }, index) => {
    const label = order[index];
    name.textContent = name.title = record.classes[label];
    share.textContent = percent(probabilities[label]);
    fill.style.setProperty("--share", probabilities[label]);
    row.className = label === likeliest ? `first ${unsure ? "unsure" : ""}` : "";
  });
}

function drawSeen(pixels) {
  const size = record.image_size;
  const image = new ImageData(size, size);
  for (let from = 0, to = 0; from < pixels.length; to += 4) {
    image.data[to] = pixels[from++];
    image.data[to + 1] = pixels[from++];
    image.data[to + 2] = pixels[from++];
    image.data[to + 3] = 255;
  }
  at("seen").getContext("2d").putImageData(image, 0, 0);
}

// Of the camera's many answers a screen reader hears those that stay for a while.
function announce(text, answer, streaming) {
  const now = performance.now();
  if (answer !== candidate) [candidate, since] = [answer, now];
  if (streaming && (now - since < STEADY || answer === spoken)) return;
  spoken = answer;
  at("spoken").textContent = text;
}

function tellSpeed(milliseconds, streaming) {
  const now = performance.now();
  times = [...times.filter((time) => now - time < 2000), now];
  const span = (now - times[0]) / 1000;
  const rate = streaming && span > 0.5 ? `${((times.length - 1) / span).toFixed(0)} frames/s, ` : "";
  at("speed").textContent = `${rate}${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
}
