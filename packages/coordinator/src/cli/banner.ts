/** What the terminal shows when the server is up: links, QR code, and what a phone will need. */

import pc from "picocolors";
import { renderUnicodeCompact } from "uqr";

export interface BannerInput {
  readonly scheme: "http" | "https";
  readonly port: number;
  /** True when only this machine can reach the server. */
  readonly loopback: boolean;
  readonly lanAddresses: readonly string[];
  readonly joinToken?: string;
  readonly hostToken: string;
  readonly title: string;
  /** Columns of the terminal; no QR code where it is not one, or too narrow. */
  readonly columns?: number;
}

/** Link for volunteers; the token rides in the fragment, which is never sent to a server. */
export function joinLink(
  { scheme, port, joinToken }: Pick<BannerInput, "scheme" | "port" | "joinToken">,
  address: string,
): string {
  return `${scheme}://${address}:${port}/${joinToken ? `#${joinToken}` : ""}`;
}

export function renderBanner(input: BannerInput): string {
  const { scheme, port, loopback, lanAddresses, hostToken, title } = input;
  const line = (label: string, link: string) =>
    `  ${pc.green("➜")}  ${label.padEnd(10)} ${pc.cyan(link)}`;
  const lines = ["", `  ${pc.bold(pc.green("swarmvit"))}  ${title}`, ""];
  lines.push(line("Join", joinLink(input, "localhost")));
  if (!loopback)
    for (const address of lanAddresses) lines.push(line("Network", joinLink(input, address)));
  lines.push(line("Dashboard", `${scheme}://localhost:${port}/dashboard#host=${hostToken}`));
  const share = loopback ? undefined : lanAddresses[0];
  if (loopback)
    lines.push(pc.dim("     Only this machine can join. Let others: --host 0.0.0.0 --https"));
  else if (scheme === "http")
    lines.push(
      pc.yellow("     Phones and other machines need https to compute on the GPU: add --https"),
    );
  else lines.push(pc.dim("     A self-signed certificate: browsers warn once; choose to go on."));
  if (share && (input.columns ?? 0) >= 40)
    lines.push("", indent(renderUnicodeCompact(joinLink(input, share), { border: 1 }), 5));
  lines.push("");
  return lines.join("\n");
}

function indent(text: string, by: number): string {
  return text.replace(/^/gm, " ".repeat(by));
}
