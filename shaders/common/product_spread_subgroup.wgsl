// Lane i of a subgroup of 8 or more gives its block of A to all lanes.

fn spread0(block: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(block[0], 0u), subgroupBroadcast(block[1], 0u), subgroupBroadcast(block[2], 0u), subgroupBroadcast(block[3], 0u));
}

fn spread1(block: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(block[0], 1u), subgroupBroadcast(block[1], 1u), subgroupBroadcast(block[2], 1u), subgroupBroadcast(block[3], 1u));
}

fn spread2(block: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(block[0], 2u), subgroupBroadcast(block[1], 2u), subgroupBroadcast(block[2], 2u), subgroupBroadcast(block[3], 2u));
}

fn spread3(block: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(block[0], 3u), subgroupBroadcast(block[1], 3u), subgroupBroadcast(block[2], 3u), subgroupBroadcast(block[3], 3u));
}

fn spread4(block: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(block[0], 4u), subgroupBroadcast(block[1], 4u), subgroupBroadcast(block[2], 4u), subgroupBroadcast(block[3], 4u));
}

fn spread5(block: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(block[0], 5u), subgroupBroadcast(block[1], 5u), subgroupBroadcast(block[2], 5u), subgroupBroadcast(block[3], 5u));
}

fn spread6(block: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(block[0], 6u), subgroupBroadcast(block[1], 6u), subgroupBroadcast(block[2], 6u), subgroupBroadcast(block[3], 6u));
}

fn spread7(block: mat4x4f) -> mat4x4f {
    return mat4x4f(subgroupBroadcast(block[0], 7u), subgroupBroadcast(block[1], 7u), subgroupBroadcast(block[2], 7u), subgroupBroadcast(block[3], 7u));
}
