// Package http measures plain HTTP proxying beside other proxies. It has benchmarks only.
package http
