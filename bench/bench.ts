/** `npm run bench -- NAME [flags]`: runs one of the benches; each says with --help what it takes. */

interface Bench {
  run(args: string[]): Promise<void>;
}

/** Loaded when chosen: what one bench imports would count as another's memory. */
const BENCHES: Readonly<Record<string, () => Promise<Bench>>> = {
  engine: () => import("./engine.ts"),
  "end-to-end": () => import("./end-to-end.ts"),
  memory: () => import("./memory.ts"),
};

const [chosen = "", ...args] = process.argv.slice(2);
const load = BENCHES[chosen];
if (load) await (await load()).run(args);
else {
  const names = Object.keys(BENCHES).join(" or ");
  console.error(`usage: npm run bench -- NAME [flags], where NAME is ${names}`);
  process.exitCode = 2;
}

export {}; // a module, so that it may await
