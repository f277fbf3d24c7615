// Pixels of the camera and of photographs, as the worker is given them.

// Where to look if no hand is found: a square in the middle, of this share of the
// shorter side. A hand held into the camera's fits in, with some wall around it.
const CAMERA_BOX = 0.8, PHOTOGRAPH_BOX = 1;
// Pixels of a photograph's shorter and longer side: beyond, the browser reduces it
// first, which moves no value that the network sees by more than about one level.
const SHORTER = 2048, LONGER = 8192;

const canvas = document.createElement("canvas");
const context = canvas.getContext("2d", { willReadFrequently: true });

function take(source, sourceWidth, sourceHeight, share) {
  const [shorter, longer] = [sourceWidth, sourceHeight].sort((a, b) => a - b);
  const scale = Math.min(1, SHORTER / shorter, LONGER / longer);
  const width = Math.max(1, Math.round(scale * sourceWidth));
  const height = Math.max(1, Math.round(scale * sourceHeight));
  [canvas.width, canvas.height] = [width, height];
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // behind what is transparent
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const side = Math.round(share * Math.min(width, height));
  const [left, top] = [width, height].map((length) => Math.floor((length - side) / 2));
  return { pixels: data.buffer, width, height, box: { left, top, side } };
}

export function ofVideo(video) {
  return take(video, video.videoWidth, video.videoHeight, CAMERA_BOX);
}

// Throws where the browser does not read the file.
export async function ofFile(file) {
  // Upright, as its camera says; values as they are in the file.
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none" };
  const bitmap = await createImageBitmap(file, options);
  try {
    return take(bitmap, bitmap.width, bitmap.height, PHOTOGRAPH_BOX);
  } finally {
    bitmap.close();
  }
}

// The camera's stream. Throws an Error whose message is for a person.
export async function openCamera() {
  const instead = "A photograph works all the same.";
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error(
      `Browsers give the camera only to pages from https or localhost. ${instead}`,
    );
  }
  const reasons = {
    NotAllowedError: "The camera is not allowed: allow it for this page in the browser.",
    NotFoundError: "No camera was found.",
    NotReadableError: "The camera is in use by another program.",
  };
  try {
    return await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "user", width: { ideal: 640 }, height: { ideal: 480 } },
    });
  } catch (error) {
    throw new Error(`${reasons[error.name] ?? error.message} ${instead}`);
  }
}
