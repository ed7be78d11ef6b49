// Lane i of a subgroup of 8 or more gives its block of A to all lanes.

fn spread0(a: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(a[0], 0u), subgroupBroadcast(a[1], 0u), subgroupBroadcast(a[2], 0u), subgroupBroadcast(a[3], 0u));
}

fn spread1(a: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(a[0], 1u), subgroupBroadcast(a[1], 1u), subgroupBroadcast(a[2], 1u), subgroupBroadcast(a[3], 1u));
}

fn spread2(a: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(a[0], 2u), subgroupBroadcast(a[1], 2u), subgroupBroadcast(a[2], 2u), subgroupBroadcast(a[3], 2u));
}

fn spread3(a: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(a[0], 3u), subgroupBroadcast(a[1], 3u), subgroupBroadcast(a[2], 3u), subgroupBroadcast(a[3], 3u));
}

fn spread4(a: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(a[0], 4u), subgroupBroadcast(a[1], 4u), subgroupBroadcast(a[2], 4u), subgroupBroadcast(a[3], 4u));
}

fn spread5(a: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(a[0], 5u), subgroupBroadcast(a[1], 5u), subgroupBroadcast(a[2], 5u), subgroupBroadcast(a[3], 5u));
}

fn spread6(a: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(a[0], 6u), subgroupBroadcast(a[1], 6u), subgroupBroadcast(a[2], 6u), subgroupBroadcast(a[3], 6u));
}

fn spread7(a: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(a[0], 7u), subgroupBroadcast(a[1], 7u), subgroupBroadcast(a[2], 7u), subgroupBroadcast(a[3], 7u));
}
