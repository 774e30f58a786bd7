/** Real Chromium for tests: found on this machine, started with WebGPU on its software adapter. */

import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { delimiter, join } from "node:path";
import { type Browser, chromium } from "playwright-core";

const ON_PATH = [
  "chromium",
  "chromium-browser",
  "google-chrome",
  "google-chrome-stable",
  "microsoft-edge",
  "microsoft-edge-stable",
];
const INSTALLED = [
  "/usr/bin/chromium",
  "/usr/bin/google-chrome",
  "/snap/bin/chromium",
  "/opt/google/chrome/chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
  "C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe",
];

/** SwiftShader as the WebGPU adapter: the same software device on every machine. */
const FLAGS = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** The path of an installed Chrome, Edge or Chromium (`CHROME_PATH` first), or undefined. */
export function findBrowser(): string | undefined {
  const named = process.env.CHROME_PATH;
  if (named) {
    if (existsSync(named)) return named;
    throw new Error(`CHROME_PATH names no file (got ${named}): correct it or unset it`);
  }
  const folders = (process.env.PATH ?? "").split(delimiter).filter(Boolean);
  const candidates = folders.flatMap((folder) => ON_PATH.map((name) => join(folder, name)));
  return [...INSTALLED, ...candidates].find((path) => existsSync(path));
}

/**
 * Starts the installed browser with WebGPU on SwiftShader; the caller closes it. `flags` are added
 * to the usual ones. Throws, saying what to install, where there is no browser.
 */
export async function launchBrowser(flags: readonly string[] = []): Promise<Browser> {
  const executablePath = findBrowser();
  if (!executablePath)
    throw new Error(
      "Tests need a browser: expected an installed Chrome, Edge or Chromium, found none. " +
        "Install one (Debian: apt install chromium) or set CHROME_PATH.",
    );
  return chromium.launch({ executablePath, args: [...FLAGS, ...flags] });
}

/** What `servePage` answers for one path. */
export interface PageFile {
  readonly type: string;
  readonly body: string | Uint8Array;
}

/**
 * Serves files by path (`/` is the page) on 127.0.0.1 and a free port: a secure context, which
 * WebGPU needs. With `isolated` the page may use SharedArrayBuffer.
 */
export async function servePage(
  files: ReadonlyMap<string, PageFile>,
  options: { readonly isolated?: boolean } = {},
): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    const file = files.get(path);
    if (options.isolated) {
      response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
      response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    }
    if (!file) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "Content-Type": file.type }).end(file.body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
