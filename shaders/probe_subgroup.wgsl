// Writes, for each invocation of one workgroup, its subgroup's size (high half) and its place in it (low half).
struct Params { unused: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;   // [256]

@compute @workgroup_size(256)
fn main(
    @builtin(local_invocation_index) i: u32,
    @builtin(subgroup_size) size: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    // A broadcast, so that the probe uses what kernels use: lane 0 must be the first invocation of the subgroup.
    let first = subgroupBroadcast(i, 0u);
    output[i] = ((size + p.unused) << 16u) | (i - first + (lane - (i - first)) * 256u);
}
