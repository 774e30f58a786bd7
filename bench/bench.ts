/** `npm run bench -- NAME [flags]`: runs one of the benches; each says with --help what it takes. */

import { run as endToEnd } from "./end-to-end.ts";
import { run as engine } from "./engine.ts";

const BENCHES: Readonly<Record<string, (args: string[]) => Promise<void>>> = {
  engine,
  "end-to-end": endToEnd,
};

const [chosen = "", ...args] = process.argv.slice(2);
const bench = BENCHES[chosen];
if (bench) await bench(args);
else {
  const names = Object.keys(BENCHES).join(" or ");
  console.error(`usage: npm run bench -- NAME [flags], where NAME is ${names}`);
  process.exitCode = 2;
}
