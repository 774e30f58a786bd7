/** Everything that is fetched: pages, state, weights, shards, checkpoints (DESIGN section 6, HTTP). */

import { existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { type AnyRefusal, refusalOf } from "@swarmvit/shared/refusals";
import type { HistoryPage, RunState } from "@swarmvit/shared/run";
import express, { type Express, type NextFunction, type Request, type Response } from "express";
import type { Admission } from "./admission.ts";
import type { PublishedVectors } from "./published-vectors.ts";
import type { Refusals } from "./refusals.ts";
import { setSecurityHeaders } from "./security-headers.ts";

export interface HttpOptions {
  /** Built pages: index.html, dashboard.html, assets/…; without them `/` says so. */
  readonly pagesDirectory?: string;
  /** Files named by their SHA-256. */
  readonly shardDirectory: string;
  /** Where `best.safetensors` and `last.safetensors` are. */
  readonly runDirectory: string;
  /** `local`: asked from this machine, so the join link may be told. */
  state(local: boolean): RunState;
  history(since: number): HistoryPage;
  readonly published: Pick<PublishedVectors, "hold" | "halves" | "deltas">;
  /** Undefined when all is well, else what is wrong. */
  health(): string | undefined;
  readonly admission: Admission;
  readonly refusals: Refusals;
  /** In Prometheus' text format. */
  metrics(): string;
  nowMs(): number;
}

const SHA256 = /^[0-9a-f]{64}$/;
const FOREVER = "public, max-age=31536000, immutable";
const MODEL_FILES = ["best.safetensors", "last.safetensors"] as const;
const PAGES: readonly [route: string, files: readonly string[]][] = [
  ["/", ["index.html", "join.html"]],
  ["/dashboard", ["dashboard.html", "dashboard/index.html"]],
  ["/bench", ["bench.html"]],
];

/** The routes, without a server. */
export function createHttpApp(options: HttpOptions): Express {
  const app = express();
  app.disable("x-powered-by");
  app.set("query parser", "simple");
  app.set("etag", false); // set by hand, where the name is the hash
  app.use(setSecurityHeaders);
  app.use((request, response, next) => {
    if (options.admission.accountOf(request).take("request", options.nowMs())) return next();
    tooMuch(options, request, response, "RATE", "requests");
  });
  app.use((request, response, next) => {
    if (request.method === "GET" || request.method === "HEAD") return next();
    response.status(405).set("Allow", "GET, HEAD").json({ error: "GET or HEAD was expected" });
  });

  app.get("/api/run", (request, response) => {
    response.set("Cache-Control", "no-store").json(options.state(isLocal(request)));
  });
  // A page's socket cannot say why it was refused: the page asks here.
  app.get("/api/admission", (request, response) => {
    const code = options.admission.overfull(request);
    response.set("Cache-Control", "no-store").json(code ? refusalOf(code) : { ok: true });
  });
  app.get("/api/history", (request, response) => {
    const since = Number(request.query.since ?? 0);
    if (!Number.isSafeInteger(since) || since < 0) {
      response.status(400).json({ error: "since must be a whole number, as the last cursor was" });
      return;
    }
    response.set("Cache-Control", "no-store").json(options.history(since));
  });
  app.get("/healthz", (_, response) => {
    const problem = options.health();
    response
      .set("Cache-Control", "no-store")
      .status(problem ? 503 : 200)
      .json({ ok: !problem, problem });
  });

  app.get("/metrics", (_, response) => {
    response
      .set("Cache-Control", "no-store")
      .type("text/plain; version=0.0.4")
      .send(options.metrics());
  });

  app.get("/weights/:sha256", (request, response) => {
    const { sha256 } = request.params;
    const { name, parts, release } = encodingOf(options, sha256, request.query);
    if (!parts) return notFound(response, "no such weights: they are kept for a few steps only");
    if (release) response.once("close", release);
    if (isCached(request, response, name)) return;
    const [first, ...more] = parts.map(asBuffer);
    const body = more.length > 0 ? Buffer.concat([first, ...more]) : first;
    if (!mayDownload(options, request, response, body.byteLength)) return;
    response.type("application/octet-stream").send(body);
  });
  app.get("/shards/:sha256", (request, response, next) => {
    const { sha256 } = request.params;
    if (!SHA256.test(sha256)) return notFound(response, "a shard is named by its SHA-256");
    if (isCached(request, response, sha256)) return;
    if (!mayDownload(options, request, response, sizeOf(options.shardDirectory, sha256))) return;
    response.type("application/octet-stream");
    sendFile(options.shardDirectory, sha256, response, next);
  });

  app.get("/checkpoints", (_, response) => {
    const files = MODEL_FILES.filter((file) => existsSync(join(options.runDirectory, file)));
    response.set("Cache-Control", "no-store").json({
      files: files.map((file) => ({ file, url: `/checkpoints/${file}` })),
    });
  });
  app.get("/checkpoints/:file", (request, response, next) => {
    const file = MODEL_FILES.find((name) => name === request.params.file);
    if (!file) return notFound(response, `one of ${MODEL_FILES.join(", ")} was expected`);
    if (!mayDownload(options, request, response, sizeOf(options.runDirectory, file))) return;
    response.set("Cache-Control", "no-cache").attachment(file);
    sendFile(options.runDirectory, file, response, next);
  });

  servePages(app, options.pagesDirectory);
  app.use((_, response) => notFound(response, "no such page"));
  app.use((error: unknown, _: Request, response: Response, next: NextFunction) => {
    if (response.headersSent) return next(error);
    // Express marks what the client did wrong (a bad URL encoding) with a status.
    const status = (error as { status?: number } | null)?.status;
    if (status === 404) return notFound(response, "no such file");
    response
      .status(status && status < 500 ? status : 500)
      .json({ error: status && status < 500 ? "bad request" : "the coordinator failed here" });
  });
  return app;
}

function servePages(app: Express, pagesDirectory: string | undefined): void {
  if (!pagesDirectory) {
    app.get(["/", "/dashboard", "/bench"], (_, response) => {
      response
        .type("text/plain")
        .send("swarmvit is running, but its pages are not built: run npm run build.\n");
    });
    return;
  }
  const root = resolve(pagesDirectory);
  for (const [route, files] of PAGES)
    app.get(route, (_, response, next) => {
      const file = files.find((name) => existsSync(join(root, name)));
      if (!file) return next();
      response.set("Cache-Control", "no-cache");
      sendFile(root, file, response, next);
    });
  app.use(
    express.static(root, {
      index: false,
      redirect: false,
      dotfiles: "ignore",
      cacheControl: false,
      setHeaders(response, path) {
        // Vite puts a hash into the names of assets/ only.
        const hashed = path.startsWith(join(root, "assets"));
        response.setHeader("Cache-Control", hashed ? FOREVER : "no-cache");
      },
    }),
  );
}

function sendFile(root: string, file: string, response: Response, next: NextFunction): void {
  response.sendFile(file, { root: resolve(root), cacheControl: false, etag: false }, (error) => {
    // A download that the client broke off is nobody's error.
    if (error && !response.headersSent) {
      response.removeHeader("Cache-Control"); // never cache a 404 for ever
      next(error);
    }
  });
}

/**
 * What a request for weights is answered with, in parts: float32, or on request the halves of an f16
 * run (`codec=f16`), or the deltas from what the volunteer has (`from=`). `name` is the ETag's.
 */
function encodingOf(
  { published }: HttpOptions,
  sha256: string,
  { from, codec }: Request["query"],
): { readonly name: string; readonly parts?: readonly Uint8Array[]; release?(): void } {
  if (typeof from === "string" && SHA256.test(from))
    return { name: `${sha256}-${from}`, parts: published.deltas(sha256, from) };
  if (codec === "f16") {
    const halves = published.halves(sha256);
    return { name: `${sha256}-f16`, parts: halves && [halves] };
  }
  const held = published.hold(sha256);
  return { name: sha256, parts: held && [held.bytes], release: held?.release };
}

/** Sets the headers of an immutable answer; true where the client has it already. */
function isCached(request: Request, response: Response, name: string): boolean {
  const etag = `"${name}"`;
  response.set({ ETag: etag, "Cache-Control": FOREVER });
  if (request.headers["if-none-match"] !== etag) return false;
  response.status(304).end();
  return true;
}

/** True where the address may have so many bytes. */
function mayDownload(
  options: HttpOptions,
  request: Request,
  response: Response,
  bytes: number,
): boolean {
  const { admission, nowMs } = options;
  if (admission.accountOf(request).take("download", nowMs(), bytes)) return true;
  tooMuch(options, request, response, "BYTES", "downloads");
  return false;
}

function tooMuch(
  { admission, refusals }: HttpOptions,
  request: Request,
  response: Response,
  code: AnyRefusal,
  what: string,
): void {
  const { network } = admission.accountOf(request);
  response.removeHeader("ETag");
  response
    .status(429)
    .set({ "Retry-After": "5", "Cache-Control": "no-store" })
    .json(refusals.refuse(code, network, what));
}

/** Bytes of a file; 0 where there is none, which is then said when it is sent. */
function sizeOf(directory: string, file: string): number {
  return statSync(join(directory, file), { throwIfNoEntry: false })?.size ?? 0;
}

/** Asked by a browser on this machine under a local name: a rebound DNS name or a proxy is not. */
export function isLocal(request: Pick<Request, "socket" | "headers">): boolean {
  const address = request.socket.remoteAddress ?? "";
  const host = (request.headers.host ?? "").replace(/:\d+$/, "");
  return (
    /^(::1|127\.|::ffff:127\.)/.test(address) &&
    ["localhost", "127.0.0.1", "[::1]"].includes(host) &&
    request.headers["x-forwarded-for"] === undefined
  );
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function notFound(response: Response, error: string): void {
  response.status(404).set("Cache-Control", "no-store").json({ error });
}
