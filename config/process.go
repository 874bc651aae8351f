package config

// Admin is the administration listener.
type Admin struct {
	Pos Position `yaml:"-"`

	// The TCP address to listen on. "off" turns the listener off.
	Address string `yaml:"address" default:"127.0.0.1:9901"`
	// The bearer token that calls which change something must carry. Needed when the address is not loopback.
	Token Secret `yaml:"token"`
	// How many versions of each registered descriptor set are kept for a rollback, the one in force among them.
	DescriptorVersions int `yaml:"descriptor_versions" default:"10" min:"1" max:"100"`
}

// Redis is the server that nodes and services share.
type Redis struct {
	Pos Position `yaml:"-"`

	// redis://[user:password@]host:port/db for one server; redis+sentinel://[user:password@]host:port/db?master_name=name&addr=host:port for the master that Sentinels look after; redis+cluster://[user:password@]host:port?addr=host:port for a cluster that these are nodes of. rediss for TLS.
	URL Secret `yaml:"url"`
	// In place of url: several that know nothing of each other, as many as share the load. Each channel and queue is of one of them, by the hash of its name and of the host and port; limits and registered descriptors are of the first.
	URLs []Secret `yaml:"urls"`
	// The first part of every key and channel name.
	Prefix string `yaml:"prefix" default:"cg:"`
	// How long a request waits for the server's word on its limits before their on_failure applies.
	LimitTimeout Duration `yaml:"limit_timeout" default:"100ms" min:"1ms" max:"10s"`
}

// Addresses returns the URLs, however they are given.
func (r *Redis) Addresses() []string {
	if len(r.URLs) == 0 {
		return []string{r.URL.Reveal()}
	}
	urls := make([]string, len(r.URLs))
	for i, u := range r.URLs {
		urls[i] = u.Reveal()
	}
	return urls
}

// Log says what is logged, to standard error.
type Log struct {
	Pos Position `yaml:"-"`

	// The lowest level of process logs.
	Level string `yaml:"level" default:"info" enum:"debug,info,warn,error"`
	// The format of every line.
	Format string `yaml:"format" default:"json" enum:"json,text"`
	// Which requests the access log has: all, only those that ended with a status of 400 and above, or none.
	Access string `yaml:"access" default:"all" enum:"all,errors,off"`
}

// Drain is how the process ends.
type Drain struct {
	Pos Position `yaml:"-"`

	// The longest time requests and streams in flight get to finish.
	Timeout Duration `yaml:"timeout" default:"30s"`
	// How long readiness fails before listeners close, so that balancers notice.
	Delay Duration `yaml:"delay" default:"0s"`
	// WebSocket clients are told to reconnect after a random time of at most this.
	ReconnectSpread Duration `yaml:"reconnect_spread" default:"5s"`
}

// Overload is when the process sheds requests, by the priority of their routes.
type Overload struct {
	Pos Position `yaml:"-"`

	// The most requests that the process serves at the same time. Routes of high priority have all of them, normal ones nine tenths, low ones eight; critical ones are not bounded. Sessions on the bus are not counted.
	MaxConcurrency int `yaml:"max_concurrency" default:"100000" min:"1"`
	// How long goroutines that are ready may wait for a processor, in the median over a tenth of a second, before requests are shed; a few milliseconds are a saturated process. 0: nothing is shed for it.
	QueueDelay Duration `yaml:"queue_delay" default:"0s" max:"10s"`
}
