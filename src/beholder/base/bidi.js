// Isolates names given by users in generated text, as bidi.py has it for pages that Python writes.
const FIRST = "\u2068", LAST = "\u2069";
const TURNS = /[\u0590-\u08ff\u202a-\u202e\u200f\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefe]|[\ud802\ud803\ud83a\ud83b]/;

export const turns = text => TURNS.test(text);

// A name to be put into a sentence: as it is, or isolated where it may turn the sentence.
export const isolated = name => turns(name) ? FIRST + name.replace(/[\u2066-\u2069]/g, "\ufffd") + LAST : name;

// A function that isolates each of these names in a sentence, and what still turns in it.
export function isolating(names) {
  const known = names.filter(turns).sort((a, b) => b.length - a.length).map(name => name.replace(/[\\^$.*+?()[\]{}|\/-]/g, "\\$&"));
  const pattern = known.length ? new RegExp(`(${known.join("|")})`) : null;
  return text => !turns(text) ? text : pattern ? text.split(pattern).map(isolated).join("") : isolated(text);
}
