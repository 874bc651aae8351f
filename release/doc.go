// Package release divides the callers of routes between the routes' own upstreams, which are called stable, and variants:
// by cohort, by a stable hash, by a share that grows with time, and back to stable where a variant does worse.
//
// [Compile] makes a [Set] of a configuration. A request costs one hash and an atomic read for each variant:
// [Release.Choose] finds its [Variant], and [Variant.Observe] counts how it ended. A [Controller] takes the counts every second,
// into windows of fixed size, exchanges those with the other nodes by Redis, judges by the sums, ramps shares, rolls variants back,
// and agrees with the others about that. Without one shares stay as they are configured.
//
// The package knows neither upstreams nor protocols.
package release
