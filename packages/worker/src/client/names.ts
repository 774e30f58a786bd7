/** Names for volunteers who give none: friendly, and saying nothing about the person or machine. */

const COLOURS = [
  "Amber",
  "Azure",
  "Coral",
  "Copper",
  "Golden",
  "Indigo",
  "Ivory",
  "Jade",
  "Lilac",
  "Olive",
  "Pearl",
  "Ruby",
  "Scarlet",
  "Silver",
  "Teal",
  "Violet",
];
const ANIMALS = [
  "Badger",
  "Crane",
  "Falcon",
  "Fox",
  "Gecko",
  "Heron",
  "Ibex",
  "Lynx",
  "Marten",
  "Otter",
  "Panda",
  "Puffin",
  "Raven",
  "Seal",
  "Swift",
  "Wombat",
];

/** "Amber Fox", from a number in [0, 1). */
export function inventName(random: number): string {
  const pick = Math.floor(random * COLOURS.length * ANIMALS.length);
  return `${COLOURS[pick % COLOURS.length]} ${ANIMALS[Math.floor(pick / COLOURS.length)]}`;
}
