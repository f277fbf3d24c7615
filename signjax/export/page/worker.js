// The network, in a thread of its own, so that the page never waits for it.
//
// In:  {pixels: ArrayBuffer of RGBA, width, height, source}
// Out: {progress: "45 of 102 MB"}, {ready: record, runtime: name}, {failed: why}, or
//      {probabilities, label, seen, milliseconds, source}, the answer to one picture

const folder = new URL("onnxruntime-web/", self.location.href).href;
let ort, session;

async function load() {
  const [record, { runtimes }] = await Promise.all(["model.json", "page.json"].map(read));
  const model = await download("model.onnx");
  const failures = [];
  for (const runtime of runtimes) {
    try {
      await start(runtime, model, record.image_size);
      return { ready: record, runtime: runtime.name };
    } catch (error) {
      failures.push(`${runtime.name}: ${error.message ?? error}`);
    }
  }
  throw new Error(failures.join("; "));
}

async function read(name) {
  return (await respond(name)).json();
}

async function respond(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: HTTP ${response.status}`);
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

async function start({ provider, script, program }, model, size) {
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
  session = await ort.InferenceSession.create(model, {
    executionProviders: [provider],
    logSeverityLevel: 3, // errors; not which nodes the GPU leaves to the CPU
  });
  // The first answer compiles, and shows whether the runtime can.
  await answer({ pixels: new ArrayBuffer(4 * size * size), width: size, height: size });
}

async function answer({ pixels, width, height, source }) {
  const begin = performance.now();
  const rgba = new Uint8Array(pixels);
  const rgb = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; to < rgb.length; from += 4) {
    rgb[to++] = rgba[from];
    rgb[to++] = rgba[from + 1];
    rgb[to++] = rgba[from + 2];
  }
  const photograph = new ort.Tensor("uint8", rgb, [1, height, width, 3]);
  const { probabilities, label, seen } = await session.run({ photograph });
  return {
    probabilities: Array.from(probabilities.data),
    label: Number(label.data[0]),
    seen: seen.data,
    milliseconds: performance.now() - begin,
    source,
  };
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
