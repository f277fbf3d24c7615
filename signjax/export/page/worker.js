// The networks, in a thread of their own, so that the page never waits for them.
//
// In:  {pixels: ArrayBuffer of RGBA, width, height, box: where to look if no hand is
//      found, source}
// Out: {progress: "45 of 102 MB"}, {ready: record, runtime: name, finds: whether it can
//      find hands}, {failed: why}, or the answer to one picture:
//      {probabilities, label, seen, box: where it looked, found: whether a hand is
//      there, width, height, milliseconds, source}
//
// A box is {left, top, side}, in pixels of the picture.

const folder = new URL("onnxruntime-web/", self.location.href).href;
let ort, session;
let palms = null; // finds hands, where the page came with it
let last = { hand: null, source: null, took: 0, end: 0 }; // search for one

const text = (value) => typeof value === "string";
const number = (value) => typeof value === "number";
// Of each file what is read of it, and what that has to be.
const KEYS = {
  "model.json": {
    name: text,
    classes: (value) => Array.isArray(value) && value.length > 0 && value.every(text),
    image_size: (value) => Number.isInteger(value) && value > 0,
    threshold: number,
    scores: (value) => value === null || (number(value?.accuracy) && number(value.count)),
    licence: (value) => text(value?.reason),
  },
  "page.json": {
    runtimes: (value) => Array.isArray(value) && value.length > 0,
    palm: (value) => value === null || text(value),
  },
};
const OUTPUTS = ["label", "probabilities", "seen"];

async function load() {
  const [record, page] = await Promise.all(Object.keys(KEYS).map(read));
  const model = await download("model.onnx");
  const palm = page.palm && await download(page.palm);
  const failures = [];
  for (const runtime of page.runtimes) {
    let first;
    try {
      first = await start(runtime, model, palm, record.image_size);
    } catch (error) {
      failures.push(`${runtime.name}: ${error.message ?? error}`);
      continue;
    }
    compare(record, first.probabilities.length, Math.sqrt(first.seen.length / 3));
    return { ready: record, runtime: runtime.name, finds: Boolean(palm) };
  }
  throw new Error(failures.join("; "));
}

function compare({ classes, image_size: size }, count, side) {
  if (count === classes.length && side === size) return;
  throw new Error(`model.onnx has ${count} classes and ${side} × ${side} pixels, and ` +
    `model.json ${classes.length} and ${size} × ${size}: export the model again`);
}

// The values of a JSON file, as an export writes them.
async function read(name) {
  const content = await (await respond(name)).text();
  let values;
  try {
    values = JSON.parse(content);
  } catch {
    throw new Error(`${name} is not JSON: export the model again`);
  }
  const wrong = Object.entries(KEYS[name]).filter(([key, right]) => !right(values?.[key]));
  if (!wrong.length) return values;
  const keys = wrong.map(([key]) => key).join(", ");
  throw new Error(`${name} is not as an export writes it (${keys}): export the model again`);
}

async function respond(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} could not be fetched: HTTP ${response.status}`);
  return response;
}

async function download(name) {
  const response = await respond(name);
  const total = Number(response.headers.get("Content-Length"));
  const parts = [];
  let received = 0;
  for (const reader = response.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    received += value.length;
    const of = total >= received ? ` of ${megabytes(total)}` : "";
    if (total > 4e6) postMessage({ progress: `${megabytes(received)}${of} MB` });
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

const megabytes = (bytes) => (bytes / 1e6).toFixed(0);

async function start({ provider, script, program }, model, palm, size) {
  if (provider === "webgpu") {
    const adapter = await navigator.gpu?.requestAdapter();
    // One that is computed by the CPU is slower than WebAssembly.
    if (!adapter || adapter.info?.isFallbackAdapter) throw new Error("none here");
  }
  ort = await import(folder + script);
  ort.env.wasm.wasmPaths = { wasm: folder + program };
  // A server that isolates the page from others, as --mode=demo does, lets it use more.
  ort.env.wasm.numThreads = self.crossOriginIsolated
    ? Math.min(4, navigator.hardwareConcurrency) : 1;
  session = await open(model, provider);
  if (!OUTPUTS.every((name) => session.outputNames.includes(name))) {
    throw new Error("model.onnx is of another program: export the model again");
  }
  if (palm) palms = await open(palm, "wasm"); // small: on the GPU it would wait for it
  // The first answer compiles, and shows whether the runtime can.
  const box = { left: 0, top: 0, side: size };
  return answer({ pixels: new ArrayBuffer(4 * size * size), width: size, height: size, box });
}

function open(model, provider) {
  return ort.InferenceSession.create(model, {
    executionProviders: [provider],
    logSeverityLevel: 3, // errors; not which nodes the GPU leaves to the CPU
  });
}

async function answer({ pixels, width, height, box, source }) {
  const begin = performance.now();
  const picture = { rgba: new Uint8Array(pixels), width };
  // A camera's hand is looked for in half of the time, between which it moves little.
  if (palms && (source !== last.source || begin - last.end >= last.took)) {
    const hand = await find(part(picture, 0, 0, width, height));
    const end = performance.now();
    last = { hand, source, took: end - begin, end };
  }
  const { hand } = last;
  const { left, top, side } = hand ?? box;
  const { probabilities, label, seen } = await session.run({
    photograph: part(picture, left, top, side, side),
  });
  return {
    probabilities: Array.from(probabilities.data),
    label: Number(label.data[0]),
    seen: seen.data,
    box: hand ?? box,
    found: Boolean(hand),
    width,
    height,
    milliseconds: performance.now() - begin,
    source,
  };
}

// The box of the surest hand, or null.
async function find(photograph) {
  const { box } = await palms.run({ photograph }, ["box"]);
  const [left, top, side] = box.data;
  return side ? { left, top, side } : null;
}

// RGB of a part of a picture, as the networks take it.
function part({ rgba, width }, left, top, columns, rows) {
  const rgb = new Uint8Array(3 * columns * rows);
  let to = 0;
  for (let row = top; row < top + rows; row++) {
    const begin = 4 * (row * width + left);
    for (let from = begin; from < begin + 4 * columns; from += 4) {
      rgb[to++] = rgba[from];
      rgb[to++] = rgba[from + 1];
      rgb[to++] = rgba[from + 2];
    }
  }
  return new ort.Tensor("uint8", rgb, [1, rows, columns, 3]);
}

self.onmessage = async ({ data }) => {
  try {
    postMessage(await answer(data));
  } catch (error) {
    postMessage({ failed: `the network failed: ${error.message ?? error}` });
  }
};

load().then(postMessage, (error) => {
  postMessage({ failed: `the network could not be loaded: ${error.message ?? error}` });
});
