#!/usr/bin/env node
// The executable. Everything runs from TypeScript sources; tsx strips the types as files load.
import { register } from "tsx/esm/api";

register();
await import("../src/cli/main.ts");
