// Entry of the vector thread. A worker thread does not inherit a TypeScript loader, neither one
// given with --import nor one registered at run time, so it registers its own.
import { register } from "tsx/esm/api";

register();
await import("./vector-thread.ts");
