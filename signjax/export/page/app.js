// The page: from the camera, or a photograph, to the network and to its answer.

import { clear, introduce, show } from "./answer.js";
import { ofFile, ofVideo, openCamera } from "./pictures.js";

const at = (id) => document.getElementById(id);
const video = at("video"), photograph = at("photograph"), view = at("view");
let worker;
let stream = null; // of the camera, while it runs
let source = 0; // a number for each camera or photograph that is shown
let busy = false; // whether the network is at work
let waiting = null; // a photograph that came meanwhile
let canFind = false; // whether it came with what finds hands

function tell(text) {
  at("notice").textContent = text;
}

function begin() {
  document.querySelector(".late").remove();
  if (typeof WebAssembly !== "object") {
    tell("This browser has no WebAssembly, which the network runs on. Try another one.");
    return;
  }
  worker = new Worker("worker.js", { type: "module" });
  worker.onerror = () => tell("The network could not be started in this browser.");
  worker.onmessage = ({ data }) => {
    if (data.progress) tell(`Loading the network, ${data.progress} …`);
    else if (data.ready) ready(data);
    else if (data.failed) failed(data.failed);
    else answered(data);
  };
}

function ready({ ready: record, runtime, finds }) {
  introduce(record);
  canFind = finds;
  at("finder").hidden = !finds;
  at("runtime").textContent = runtime;
  at("camera").disabled = at("file").disabled = false;
  tell("Start the camera, or choose a photograph.");
  document.body.dataset.state = "ready"; // for tests
}

function failed(why) {
  busy = false;
  stop();
  tell(`Sorry, ${why}.`);
}

function ask(picture) {
  busy = true;
  worker.postMessage({ ...picture, source }, [picture.pixels]);
}

function answered(answer) {
  busy = false;
  if (answer.source === source) {
    show(answer, stream !== null);
    draw(answer);
  }
  document.body.dataset.answers = 1 + Number(document.body.dataset.answers ?? 0);
  const next = waiting;
  waiting = null;
  if (next) ask(next);
}

// The camera ---------------------------------------------------------------------------

async function start() {
  stop();
  clear();
  tell("Waiting for the camera …");
  const own = source;
  let opened;
  try {
    opened = await openCamera();
  } catch (error) {
    if (own === source) tell(error.message);
    return;
  }
  if (own !== source) { // a photograph was chosen meanwhile
    opened.getTracks().forEach((track) => track.stop());
    return;
  }
  stream = opened;
  stream.getVideoTracks()[0].onended = () => {
    stop();
    tell("The camera was disconnected.");
  };
  video.srcObject = stream;
  await video.play();
  tell("");
  display(video, ofVideo(video));
  at("camera").textContent = "Stop camera";
  nextFrame();
}

function nextFrame() {
  if (!stream) return;
  if (!busy && video.videoWidth) ask(ofVideo(video));
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(nextFrame);
  else requestAnimationFrame(nextFrame);
}

function stop() {
  source += 1; // an answer that is still to come is of no use
  waiting = null;
  if (stream) stream.getTracks().forEach((track) => track.stop());
  stream = video.srcObject = null;
  video.hidden = photograph.hidden = at("box").hidden = true;
  at("camera").textContent = "Start camera";
  at("hint").textContent = "Or drop a photograph anywhere on this page.";
}

// Photographs --------------------------------------------------------------------------

async function choose(file) {
  if (!file || at("file").disabled) return;
  stop();
  clear();
  const own = source;
  let picture;
  try {
    picture = await ofFile(file);
  } catch {
    const told = `${file.name} is not a picture that this browser reads. Try a JPEG or PNG.`;
    if (own === source) tell(told);
    return;
  }
  if (own !== source) return;
  URL.revokeObjectURL(photograph.src);
  photograph.src = URL.createObjectURL(file);
  await photograph.decode();
  if (own !== source) return;
  tell("");
  display(photograph, picture);
  if (busy) waiting = picture;
  else ask(picture);
}

// Where it looks -----------------------------------------------------------------------

function display(element, { width, height, box }) {
  element.hidden = at("box").hidden = false;
  view.style.aspectRatio = `${width} / ${height}`;
  // Its height is limited: a tall picture is narrower than its place.
  view.style.width = `min(100%, 70vh * ${width / height})`;
  for (const each of [view, at("seen")]) each.classList.toggle("mirrored", element === video);
  draw({ box, found: false, width, height });
}

function draw({ box, found, width, height }) {
  const left = stream ? width - box.left - box.side : box.left; // mirrored
  const place = { left: left / width, top: box.top / height,
    width: box.side / width, height: box.side / height };
  for (const [name, share] of Object.entries(place)) {
    at("box").style[name] = `${100 * share}%`;
  }
  at("box").classList.toggle("found", found);
  const where = stream ? "Hold your hand into the box, before a plain wall if you can."
    : "The network looks at the middle of the picture.";
  at("hint").textContent = found ? "The box is where a hand was found."
    : canFind ? `No hand found. ${where}` : where;
}

at("camera").onclick = () => {
  if (!stream) return start();
  stop();
  clear();
  tell("Start the camera, or choose a photograph.");
};
at("file").onchange = ({ target }) => {
  choose(target.files[0]);
  target.value = ""; // so that the same can be chosen again
};
document.ondragover = (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
};
document.ondragleave = () => document.body.classList.remove("dropping");
document.ondrop = (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  choose(event.dataTransfer.files[0]);
};

begin();
