// Pixels of the camera and of photographs, as the network is given them.

// Of the video's shorter side. A hand fits in, with some wall around it.
export const CAMERA_BOX = 0.8;
// Pixels a side of a photograph's square: beyond, the browser reduces it first, which
// with so many left for each one wanted moves no value by more than about one level.
const MOST_PIXELS = 2048;

const canvas = document.createElement("canvas");
const context = canvas.getContext("2d", { willReadFrequently: true });

// RGBA of the centered square of a source, `share` of its shorter side.
function square(source, width, height, share) {
  const side = Math.round(share * Math.min(width, height));
  const size = Math.min(side, MOST_PIXELS);
  const left = Math.floor((width - side) / 2);
  const top = Math.floor((height - side) / 2);
  canvas.width = canvas.height = size;
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // behind what is transparent
  context.fillRect(0, 0, size, size);
  context.drawImage(source, left, top, side, side, 0, 0, size, size);
  const { data } = context.getImageData(0, 0, size, size);
  return { pixels: data.buffer, width: size, height: size };
}

export function ofVideo(video) {
  return square(video, video.videoWidth, video.videoHeight, CAMERA_BOX);
}

// Throws where the browser does not read the file.
export async function ofFile(file) {
  // Upright, as its camera says; values as they are in the file.
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none" };
  const bitmap = await createImageBitmap(file, options);
  try {
    return square(bitmap, bitmap.width, bitmap.height, 1);
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
