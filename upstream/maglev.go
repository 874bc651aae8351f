package upstream

import "slices"

// maglevSize is the size of a lookup table, a prime, as in section 5.3 of Eisenbud et al., "Maglev: A Fast and Reliable
// Software Network Load Balancer", NSDI 2016: a hundred times as many as endpoints, for up to 655 of them, keeps their
// shares within a percent.
const maglevSize = 65537

// maglev fills a lookup table from hashes to indexes of endpoints. All nodes of the gateway make the same of the same
// endpoints, and where endpoints come or go few of the others' entries change.
func maglev(endpoints []*endpoint, weights []float64) []uint16 {
	type permutation struct {
		index        uint16
		offset, skip uint64
		next         uint64
		weight, owed float64
	}
	heaviest := slices.Max(weights)
	all := make([]permutation, len(endpoints))
	for i, e := range endpoints {
		h := hashOf(e.address)
		all[i] = permutation{index: uint16(i), offset: h % maglevSize, skip: mix(h)%(maglevSize-1) + 1, weight: weights[i] / heaviest}
	}
	// Their order decides who takes a contested entry: it must not depend on the order of the list.
	slices.SortFunc(all, func(a, b permutation) int {
		if endpoints[a.index].address < endpoints[b.index].address {
			return -1
		}
		return 1
	})
	table := make([]uint16, maglevSize)
	taken := make([]bool, maglevSize)
	for filled := 0; ; {
		for i := range all {
			p := &all[i]
			if p.owed += p.weight; p.owed < 1 {
				continue
			}
			p.owed--
			at := (p.offset + p.next*p.skip) % maglevSize
			for taken[at] {
				p.next++
				at = (p.offset + p.next*p.skip) % maglevSize
			}
			table[at], taken[at] = p.index, true
			p.next++
			if filled++; filled == maglevSize {
				return table
			}
		}
	}
}

// hashOf is FNV-1a with its bits mixed, the same on every node.
func hashOf(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the finalizer of MurmurHash3: each bit of h changes half of the result's.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
