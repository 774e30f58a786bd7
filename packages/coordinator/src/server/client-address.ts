/** Whose address a request comes from, behind as many proxies as the host says there are. */

import type { IncomingMessage } from "node:http";

export interface AddressedRequest {
  readonly socket: { readonly remoteAddress?: string };
  readonly headers: IncomingMessage["headers"];
}

export interface ClientAddress {
  /** An IPv4 address, or the /64 of an IPv6 one: one household or host has a whole one. */
  readonly network: string;
  /** This machine itself: its own volunteers and pages, without a proxy between. */
  readonly isLocal: boolean;
}

/**
 * The address that limits are counted by. `X-Forwarded-For` is believed for the last `trustedHops`
 * entries only, which the host's own proxies wrote; whatever stands before was written by the stranger.
 */
export function clientAddress(request: AddressedRequest, trustedHops: number): ClientAddress {
  const peer = request.socket.remoteAddress ?? "";
  const forwarded = request.headers["x-forwarded-for"];
  if (forwarded === undefined) return { network: networkOf(peer), isLocal: isLoopback(peer) };
  const hops = [forwarded].flat().join(",").split(",");
  const at = trustedHops > 0 ? hops[Math.max(0, hops.length - trustedHops)] : peer;
  return { network: networkOf(at.trim().slice(0, 45)), isLocal: false };
}

/** An IPv4 address, or an IPv6 one's /64. */
function networkOf(address: string): string {
  const v4 = address.replace(/^::ffff:/, "");
  if (v4.includes(".")) return v4;
  const [head, tail] = address.split("::");
  const groups = head.split(":").filter(Boolean);
  if (tail === undefined || groups.length >= 4) return groups.slice(0, 4).join(":");
  return address === "::1" ? address : groups.join(":");
}

export function isLoopback(address: string): boolean {
  return /^(::1$|127\.|::ffff:127\.)/.test(address);
}
