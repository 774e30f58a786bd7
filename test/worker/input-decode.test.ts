/** Decoding: sharp in Node and a real browser's Web Worker give the same pixels. */

import { fileURLToPath } from "node:url";
import type { Pixels } from "@swarmvit/worker/input/decode";
import { decodeInNode } from "@swarmvit/worker/input/decode-node";
import type { Browser } from "playwright-core";
import sharp from "sharp";
import { build, type Rollup } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launchBrowser, type PageFile, servePage } from "../support/browser.ts";

const WIDTH = 21;
const HEIGHT = 14;

/** A smooth coloured image with an edge in it, as photographs have. */
function picture(channels: 3 | 4 = 3) {
  const raw = Buffer.alloc(WIDTH * HEIGHT * channels);
  for (let y = 0; y < HEIGHT; y++)
    for (let x = 0; x < WIDTH; x++)
      raw.set(
        [x * 12, y * 18, x > 10 ? 200 : 30, x * 12].slice(0, channels),
        (y * WIDTH + x) * channels,
      );
  return sharp(raw, { raw: { width: WIDTH, height: HEIGHT, channels } });
}

const rawPicture = () => picture().raw().toBuffer();

describe("in Node", () => {
  it("gives the stored pixels of PNG, with or without a colour profile", async () => {
    const rgb = [...(await rawPicture())];
    for (const image of [picture().png(), picture().png({ compressionLevel: 0 })]) {
      const decoded = await decodeInNode(await image.toBuffer());
      expect([decoded.width, decoded.height]).toEqual([WIDTH, HEIGHT]);
      expect([...decoded.rgb]).toEqual(rgb);
    }
    const tagged = await sharp(await rawPicture(), {
      raw: { width: WIDTH, height: HEIGHT, channels: 3 },
    })
      .withIccProfile("p3")
      .png()
      .toBuffer();
    const untagged = await sharp(tagged, { ignoreIcc: true }).raw().toBuffer();
    expect([...(await decodeInNode(tagged)).rgb]).toEqual([...untagged]);
    const converted = await sharp(tagged).raw().toBuffer();
    expect([...converted]).not.toEqual([...untagged]);
  });

  it("spreads grey over three channels", async () => {
    for (const image of [
      picture().toColourspace("b-w").png(),
      picture().greyscale().jpeg(),
      picture().toColourspace("grey16").png(),
    ]) {
      const { rgb } = await decodeInNode(await image.toBuffer());
      expect(rgb).toHaveLength(WIDTH * HEIGHT * 3);
      for (let i = 0; i < rgb.length; i += 3) {
        expect(rgb[i + 1]).toBe(rgb[i]);
        expect(rgb[i + 2]).toBe(rgb[i]);
      }
    }
  });

  it("lays transparency on white and turns by EXIF", async () => {
    const { rgb } = await decodeInNode(await picture(4).png().toBuffer());
    expect([...rgb.subarray(0, 3)]).toEqual([255, 255, 255]); // alpha 0
    const turned = await picture().withMetadata({ orientation: 8 }).png().toBuffer();
    const pixels = await decodeInNode(turned);
    expect([pixels.width, pixels.height]).toEqual([HEIGHT, WIDTH]);
    const raw = await rawPicture();
    // Orientation 8 is a quarter turn to the left: the top right corner becomes the top left.
    expect([...pixels.rgb.subarray(0, 3)]).toEqual([...raw.subarray(3 * (WIDTH - 1), 3 * WIDTH)]);
  });

  it("rejects what is no whole image", async () => {
    const jpeg = await picture().jpeg().toBuffer();
    for (const bytes of [
      new Uint8Array(),
      Buffer.from("text"),
      jpeg.subarray(0, jpeg.length - 60),
    ]) {
      await expect(decodeInNode(bytes)).rejects.toThrow(/./);
    }
  });
});

describe("in a browser's Web Worker", () => {
  let browser: Browser;
  let page: Awaited<ReturnType<Browser["newPage"]>>;
  let server: Awaited<ReturnType<typeof servePage>>;

  beforeAll(async () => {
    const entry = fileURLToPath(
      new URL("../../packages/worker/src/input/decode-browser.ts", import.meta.url),
    );
    const built = (await build({
      configFile: false,
      logLevel: "silent",
      build: { write: false, lib: { entry, formats: ["es"], fileName: "decode" } },
    })) as Rollup.RollupOutput[];
    const worker = `import { createBrowserDecode } from "/decode.js";
      const decode = createBrowserDecode();
      onmessage = async ({ data }) => {
        const results = await Promise.allSettled(data.map((bytes) => decode(Uint8Array.from(bytes))));
        postMessage(results.map(({ value, reason }) =>
          value ? { width: value.width, height: value.height, rgb: [...value.rgb] } : String(reason)));
      };`;
    const javascript = (body: string): PageFile => ({ type: "text/javascript", body });
    server = await servePage(
      new Map([
        ["/", { type: "text/html", body: "<!doctype html><title>decode</title>" }],
        ["/decode.js", javascript(built[0].output[0].code)],
        ["/worker.js", javascript(worker)],
      ]),
    );
    browser = await launchBrowser();
    page = await browser.newPage();
    await page.goto(server.url);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  /** Decodes all images at once in one worker. */
  async function decodeAll(images: Uint8Array[]): Promise<(Pixels | string)[]> {
    const results = await page.evaluate(
      (list) =>
        new Promise<({ width: number; height: number; rgb: number[] } | string)[]>(
          (resolve, reject) => {
            const worker = new Worker("/worker.js", { type: "module" });
            worker.onmessage = ({ data }) => resolve(data);
            worker.onerror = (event) => reject(new Error(event.message));
            worker.postMessage(list);
          },
        ),
      images.map((bytes) => [...bytes]),
    );
    return results.map((result) =>
      typeof result === "string" ? result : { ...result, rgb: Uint8Array.from(result.rgb) },
    );
  }

  it("gives Node's pixels: exactly for lossless files, within 1 in 255 for lossy ones", async () => {
    const images = {
      rgb: [0, picture().png()],
      palette: [0, picture().png({ palette: true })],
      grey: [0, picture().toColourspace("b-w").png()],
      profile: [0, picture().withIccProfile("p3").png()],
      losslessWebp: [0, picture().webp({ lossless: true })],
      webp: [1, picture().webp({ quality: 80 })],
      jpeg: [1, picture().jpeg({ quality: 85 })],
      jpeg444: [1, picture().jpeg({ quality: 85, chromaSubsampling: "4:4:4" })],
      greyJpeg: [1, picture().greyscale().jpeg()],
      progressive: [1, picture().jpeg({ progressive: true })],
      jpegProfile: [1, picture().withIccProfile("p3").jpeg()],
    } as const;
    const files = await Promise.all(Object.values(images).map(([, image]) => image.toBuffer()));
    const decoded = await decodeAll(files);
    for (const [i, [name, [tolerance]]] of Object.entries(images).entries()) {
      const expected = await decodeInNode(files[i]);
      const got = decoded[i];
      if (typeof got === "string") throw new Error(`${name}: ${got}`);
      expect([got.width, got.height], name).toEqual([expected.width, expected.height]);
      const differences = got.rgb.map((value, at) => Math.abs(value - expected.rgb[at]));
      expect(Math.max(...differences), name).toBeLessThanOrEqual(tolerance);
    }
  });

  it("rejects what is no image, and decodes the next", async () => {
    const png = await picture().png().toBuffer();
    const [bad, good] = await decodeAll([Buffer.from("text"), png]);
    expect(bad).toEqual(expect.stringMatching(/InvalidStateError/));
    expect(good).toMatchObject({ width: WIDTH, height: HEIGHT });
  });
});
