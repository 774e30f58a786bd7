/** Decodes with the browser's own decoders, in a page or in a Web Worker. */

import type { Decode } from "./decode.ts";

const BITMAP_OPTIONS: ImageBitmapOptions = {
  colorSpaceConversion: "none", // pixels as stored, whatever profile the file names
  premultiplyAlpha: "none",
  imageOrientation: "none", // shards hold upright images only
};

/** A browser decoder with a canvas of its own; any number of images may be in flight. */
export function createBrowserDecode(): Decode {
  const canvas = new OffscreenCanvas(1, 1);
  // In memory, not on the GPU: what is drawn is read back at once.
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  if (!context) throw new Error("Expected a 2D canvas to decode images with, got none.");
  return async (bytes) => {
    // A copy, since a Blob takes no view of shared memory.
    const bitmap = await createImageBitmap(new Blob([new Uint8Array(bytes)]), BITMAP_OPTIONS);
    const { width, height } = bitmap;
    try {
      // No await from here on, so images in flight do not meet on the canvas.
      canvas.width = width;
      canvas.height = height;
      context.fillStyle = "white";
      context.fillRect(0, 0, width, height);
      context.drawImage(bitmap, 0, 0);
      return { width, height, rgb: dropAlpha(context.getImageData(0, 0, width, height).data) };
    } finally {
      bitmap.close();
    }
  };
}

function dropAlpha(rgba: Uint8ClampedArray): Uint8Array {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from];
    rgb[to + 1] = rgba[from + 1];
    rgb[to + 2] = rgba[from + 2];
  }
  return rgb;
}
