package gateway

import (
	"errors"
	"io"
	"net/http"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/crossgate/crossgate/cache"
	"github.com/crossgate/crossgate/fault"
	adminv1 "github.com/crossgate/crossgate/proto/crossgate/admin/v1"
	"github.com/crossgate/crossgate/transcoder"
)

const (
	// maxPurgeBody bounds a PurgeCacheRequest.
	maxPurgeBody = 256 << 10
	// maxPurges bounds what one names.
	maxPurges = 1000
)

func (a *admin) purgeCache(w http.ResponseWriter, r *http.Request) {
	var asked adminv1.PurgeCacheRequest
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPurgeBody))
	if err == nil {
		err = protojson.Unmarshal(body, &asked)
	}
	switch {
	case err != nil:
		transcoder.WriteError(w, r, fault.New(fault.InvalidRequest, `the body is no crossgate.admin.v1.PurgeCacheRequest in JSON, such as {"tags":["item-7"]}`))
		return
	case len(asked.Tags)+len(asked.Urls)+len(asked.UrlPrefixes) > maxPurges:
		transcoder.WriteError(w, r, fault.Errorf(fault.InvalidRequest, "expected at most %d tags, urls and url_prefixes", maxPurges))
		return
	}
	n, err := a.gateway.cache.Purge(r.Context(), cache.Purge{
		Tags: asked.Tags, URLs: asked.Urls, Prefixes: asked.UrlPrefixes, Everything: asked.Everything,
	})
	switch {
	case errors.Is(err, cache.ErrPurge):
		transcoder.WriteError(w, r, fault.New(fault.InvalidRequest, err.Error()))
	case err != nil:
		transcoder.WriteError(w, r, &fault.Error{Reason: fault.StoreUnavailable, Message: "purged on this node; the others could not be told, for Redis does not answer", Cause: err})
	default:
		writeMessage(w, &adminv1.PurgeCacheResponse{Purged: int64(n)})
	}
}
