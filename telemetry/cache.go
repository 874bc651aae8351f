package telemetry

import "github.com/prometheus/client_golang/prometheus"

// CacheResult is what came of a request to a route with a cache.
type CacheResult uint8

// The results.
const (
	CacheHit         CacheResult = iota
	CacheStale                   // a stale answer was given, while it was asked for again or because that failed
	CacheRevalidated             // the backend said that what is there is good still
	CacheMiss
	CacheCollapsed // another request fetched the answer
	CacheBypass
	cacheResults
)

func (r CacheResult) String() string {
	return [...]string{"hit", "stale", "revalidated", "miss", "collapsed", "bypass"}[r]
}

// CacheMetrics are the series of one route's cache.
type CacheMetrics struct {
	results [cacheResults]prometheus.Counter
	redis   [cacheRedisResults]prometheus.Counter
}

// CacheRedisResult is what came of an answer in Redis.
type CacheRedisResult uint8

// The results.
const (
	CacheRedisHit CacheRedisResult = iota
	CacheRedisMiss
	CacheRedisFailed  // Redis did not answer, or not in time
	CacheRedisRefused // what is there is no answer that may be given
	CacheRedisDropped // too many waited to be saved
	cacheRedisResults
)

func (r CacheRedisResult) String() string {
	return [...]string{"hit", "miss", "failed", "refused", "dropped"}[r]
}

// CountRedis counts what came of one answer in Redis.
func (m *CacheMetrics) CountRedis(r CacheRedisResult) { m.redis[r].Inc() }

// Cache returns the series of the route's cache.
func (r *RouteMetrics) Cache() *CacheMetrics {
	m := &CacheMetrics{}
	for i := range m.results {
		m.results[i] = r.create(r.t.cached, CacheResult(i).String())
	}
	for i := range m.redis {
		m.redis[i] = r.create(r.t.cachedRedis, CacheRedisResult(i).String())
	}
	return m
}

// Count counts one request.
func (m *CacheMetrics) Count(r CacheResult) { m.results[r].Inc() }

// DescribeCache says where to ask how many answers the cache has, and how much memory they take.
func (t *Telemetry) DescribeCache(size func() (entries int, bytes uint64)) { t.cacheSize.Store(&size) }

// cacheGauges are what the cache is asked for when somebody reads the metrics.
func (t *Telemetry) cacheGauges() []prometheus.Collector {
	size := func() (entries int, bytes uint64) {
		if size := t.cacheSize.Load(); size != nil {
			return (*size)()
		}
		return 0, 0
	}
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "crossgate_cache_entries", Help: "URLs of which the cache has answers."},
			func() float64 { entries, _ := size(); return float64(entries) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "crossgate_cache_bytes", Help: "Memory that the answers in the cache take."},
			func() float64 { _, bytes := size(); return float64(bytes) }),
	}
}
