// Runs each kernel of a JSON file in wgsl_reflect's interpreter and reports races and divergent barriers.
// Input: [{ name, source, workgroups, params, buffers: [{ words, type }] }]; output: a line `name<TAB>findings` each.
import { readFileSync } from 'node:fs';
import { detectRaces } from 'wgsl_reflect/wgsl_reflect.module.js';

const arrays = { f32: Float32Array, i32: Int32Array, u32: Uint32Array };

for (const kernel of JSON.parse(readFileSync(process.argv[2], 'utf8'))) {
  const group = { 0: new Uint32Array(kernel.params) };
  kernel.buffers.forEach(({ words, type }, i) => {
    group[i + 1] = arrays[type].from({ length: words }, (_, j) => (type === 'f32' ? ((j * 37) % 19) / 8 - 1 : j % 3));
  });
  let found;
  try {
    const { races, errors } = detectRaces(kernel.source, 'main', kernel.workgroups, { 0: group });
    found = [...races.slice(0, 2).map((race) => race.message), ...errors.slice(0, 2)];
  } catch (error) {
    found = [`the interpreter failed: ${error.message ?? error}`];
  }
  console.log(`${kernel.name}\t${found.join(' | ').replaceAll('\n', ' ')}`);
}
