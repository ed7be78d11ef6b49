// Global norm of the gradients, in two dispatches and a fixed order of sums. FINISH = 0: invocation i of PARTIALS sums the
// squares of elements i, i + PARTIALS, …, into scale[1 + i]. FINISH = 1: one invocation adds those up and leaves
// min(1, LARGEST / norm) / SCALE in scale[0], where the gradients are SCALE times too large.
struct Params { n: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradients: array<f32>;       // [n]
@group(0) @binding(2) var<storage, read_write> scale: array<f32>;     // [1 + PARTIALS]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if (FINISH == 0u) {
        var sum = 0.0;
        for (var i = id.x; i < p.n; i += PARTIALS) {
            sum += gradients[i] * gradients[i];
        }
        scale[1u + id.x] = sum;
    } else if (id.x == 0u) {
        var sum = 0.0;
        for (var i = 0u; i < PARTIALS; i++) {
            sum += scale[1u + i];
        }
        scale[0] = LARGEST / max(sqrt(sum), LARGEST * SCALE);
    }
}
