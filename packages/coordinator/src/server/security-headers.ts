/** Headers of every answer: isolation for WASM threads, and no foothold for anything injected. */

import type { NextFunction, Request, Response } from "express";

/**
 * `wasm-unsafe-eval` compiles WASM, `blob:` starts its threads' workers. The socket's origin is
 * spelled out because older Safaris do not count it as 'self'.
 */
export function setSecurityHeaders(request: Request, response: Response, next: NextFunction): void {
  const host = /^[\w.:[\]-]{1,255}$/.test(request.headers.host ?? "") ? request.headers.host : "";
  const socket = host ? ` ws://${host} wss://${host}` : "";
  response.set({
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": [
      "default-src 'none'",
      "script-src 'self' 'wasm-unsafe-eval'",
      "worker-src 'self' blob:",
      `connect-src 'self'${socket}`,
      "img-src 'self' data: blob:",
      "style-src 'self'",
      "font-src 'self'",
      "manifest-src 'self'",
      "frame-ancestors 'none'",
      "base-uri 'none'",
      "form-action 'none'",
    ].join("; "),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=(), payment=(), usb=()",
  });
  next();
}
