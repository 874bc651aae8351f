package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/fault"
	adminv1 "github.com/crossgate/crossgate/proto/crossgate/admin/v1"
	"github.com/crossgate/crossgate/transcoder"
)

func (a *admin) listSets(w http.ResponseWriter, r *http.Request) {
	list, _, err := a.gateway.registry.List(r.Context())
	if err != nil {
		transcoder.WriteError(w, r, setError(err))
		return
	}
	answer := &adminv1.ListDescriptorSetsResponse{}
	for i := range list {
		answer.DescriptorSets = append(answer.DescriptorSets, describeSet(&list[i]))
	}
	writeMessage(w, answer)
}

func (a *admin) getSet(w http.ResponseWriter, r *http.Request) {
	set, err := a.gateway.registry.Get(r.Context(), r.PathValue("name"))
	if err != nil {
		transcoder.WriteError(w, r, setError(err))
		return
	}
	writeMessage(w, describeSet(&set))
}

func (a *admin) listVersions(w http.ResponseWriter, r *http.Request) {
	list, err := a.gateway.registry.Versions(r.Context(), r.PathValue("name"))
	if err != nil {
		transcoder.WriteError(w, r, setError(err))
		return
	}
	answer := &adminv1.ListDescriptorSetVersionsResponse{}
	for i := range list {
		answer.Versions = append(answer.Versions, describeSet(&list[i]))
	}
	writeMessage(w, answer)
}

func (a *admin) createSet(w http.ResponseWriter, r *http.Request) {
	asked, err := readRegistration(w, r)
	if err != nil {
		transcoder.WriteError(w, r, err)
		return
	}
	a.register(w, r, asked)
}

// readRegistration reads what POST /v1/descriptorSets asks for.
func readRegistration(w http.ResponseWriter, r *http.Request) (*registration, error) {
	query := r.URL.Query()
	asked := &registration{name: cmp.Or(query.Get("descriptor_set_id"), query.Get("descriptorSetId"), "default")}
	if err := descriptors.CheckName(asked.name); err != nil {
		return nil, fault.New(fault.InvalidRequest, "descriptor_set_id: "+err.Error())
	}
	var err error
	if asked.force, err = flag(query, "force"); err != nil {
		return nil, err
	}
	if asked.dryRun, err = flag(query, "dry_run", "dryRun"); err != nil {
		return nil, err
	}
	if asked.raw, err = io.ReadAll(http.MaxBytesReader(w, r.Body, descriptors.MaxSetSize)); err != nil {
		return nil, fault.Errorf(fault.MessageTooLarge, "the body is larger than %d bytes, or ended early", descriptors.MaxSetSize)
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/json" {
		var set adminv1.DescriptorSet
		if err := protojson.Unmarshal(asked.raw, &set); err != nil {
			return nil, fault.New(fault.InvalidRequest, "the body is no crossgate.admin.v1.DescriptorSet in JSON")
		}
		asked.raw = set.GetFileDescriptorSet()
	}
	return asked, nil
}

// flag reads a query parameter that is true or false, by any of its names.
func flag(query url.Values, names ...string) (bool, error) {
	for _, name := range names {
		if !query.Has(name) {
			continue
		}
		on, err := strconv.ParseBool(query.Get(name))
		if err != nil {
			return false, fault.Errorf(fault.InvalidRequest, "%s: expected true or false, got %q", name, query.Get(name))
		}
		return on, nil
	}
	return false, nil
}

// maxRollbackBody bounds a RollbackDescriptorSetRequest.
const maxRollbackBody = 4 << 10

func (a *admin) rollbackSet(w http.ResponseWriter, r *http.Request) {
	name, isRollback := strings.CutSuffix(r.PathValue("name"), ":rollback")
	if !isRollback {
		transcoder.WriteError(w, r, fault.New(fault.NoRoute, "expected POST /v1/descriptorSets or POST /v1/descriptorSets/{name}:rollback"))
		return
	}
	var asked adminv1.RollbackDescriptorSetRequest
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRollbackBody))
	if err == nil && len(body) > 0 {
		err = protojson.Unmarshal(body, &asked)
	}
	if err != nil {
		transcoder.WriteError(w, r, fault.New(fault.InvalidRequest, `the body is no crossgate.admin.v1.RollbackDescriptorSetRequest in JSON, such as {"version":3}`))
		return
	}
	version, err := a.gateway.registry.Version(r.Context(), name, asked.GetVersion())
	if err != nil {
		transcoder.WriteError(w, r, setError(err))
		return
	}
	a.register(w, r, &registration{name: name, raw: version.Raw, force: true})
}

func (a *admin) register(w http.ResponseWriter, r *http.Request, asked *registration) {
	set, breaks, err := a.gateway.register(r.Context(), asked)
	if err != nil {
		transcoder.WriteError(w, r, setError(err))
		return
	}
	answer := describeSet(set)
	for _, b := range breaks {
		answer.Breaks = append(answer.Breaks, &adminv1.Break{Kind: string(b.Kind), Subject: b.Subject, Description: b.Description})
	}
	writeMessage(w, answer)
}

func (a *admin) deleteSet(w http.ResponseWriter, r *http.Request) {
	if err := a.gateway.unregister(r.Context(), r.PathValue("name")); err != nil {
		transcoder.WriteError(w, r, setError(err))
		return
	}
	writeMessage(w, &emptypb.Empty{})
}

// setError says whose fault it is that a registered set could not be read or changed: Redis', or the set's.
func setError(err error) error {
	var incompatible *incompatibleError
	switch {
	case errors.As(err, &incompatible):
		return fault.New(fault.DescriptorSetIncompatible, err.Error(), incompatible.details())
	case errors.Is(err, descriptors.ErrStore):
		return fault.New(fault.StoreUnavailable, err.Error())
	case errors.Is(err, descriptors.ErrNotRegistered), errors.Is(err, descriptors.ErrNoVersion):
		return fault.New(fault.DescriptorSetNotFound, err.Error())
	case errors.Is(err, descriptors.ErrChanged):
		return fault.New(fault.RegistrationConflict, err.Error())
	}
	return fault.New(fault.DescriptorSetInvalid, err.Error())
}

// incompatibleError says that a set was not registered because of what it breaks.
type incompatibleError struct {
	name   string
	breaks []descriptors.Break
}

func (e *incompatibleError) Error() string {
	return fmt.Sprintf("descriptor set %s: changes that break callers of the version in force: %d, the first is %s; force=true registers it all the same",
		e.name, len(e.breaks), e.breaks[0])
}

// maxViolations bounds how many breaks an error lists; a dry run lists them all.
const maxViolations = 1000

func (e *incompatibleError) details() *errdetails.PreconditionFailure {
	failure := &errdetails.PreconditionFailure{}
	for _, b := range e.breaks[:min(len(e.breaks), maxViolations)] {
		failure.Violations = append(failure.Violations, &errdetails.PreconditionFailure_Violation{
			Type: string(b.Kind), Subject: b.Subject, Description: b.Description,
		})
	}
	return failure
}

func describeSet(r *descriptors.Registered) *adminv1.DescriptorSet {
	set := &adminv1.DescriptorSet{Name: "descriptorSets/" + r.Name, Sha256: r.SHA256, Version: r.Version, SizeBytes: r.Size}
	if r.Version > 0 {
		set.CreateTime = timestamppb.New(r.Created)
	}
	if r.Raw == nil {
		return set
	}
	// A set that was stored was compiled before.
	set.Services, _ = descriptors.ServiceNames(r.Raw)
	return set
}
