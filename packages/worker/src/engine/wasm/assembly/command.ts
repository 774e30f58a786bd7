/** How kernels read their command: `[opcode, tasks, words, arguments…]`, 32-bit words. */

/** An integer or an address. */
@inline
export function int(command: usize, index: i32): i32 {
  return i32.load(command + ((<usize>(index + 3)) << 2));
}

@inline
export function address(command: usize, index: i32): usize {
  return <usize>load<u32>(command + ((<usize>(index + 3)) << 2));
}

@inline
export function float(command: usize, index: i32): f32 {
  return f32.load(command + ((<usize>(index + 3)) << 2));
}

/** Bytes of so many floats. */
@inline
export function bytes(floats: i32): usize {
  return (<usize>floats) << 2;
}
