package ingress

import (
	"context"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/wardstream/wardstream/pkg/checker"
)

// extAuthz is Envoy's external authorization service (envoy.service.auth.v3). It answers every
// call with a decision: what it can't know, the fail mode decides.
type extAuthz struct {
	authv3.UnimplementedAuthorizationServer
	gate    *gate
	clients clients
	reasons bool
	status  int // where Envoy does not know the block's
}

// Check decides about the request that Envoy describes.
func (a *extAuthz) Check(ctx context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	remote := ""
	if p, ok := grpcpeer.FromContext(ctx); ok {
		remote = p.Addr.String()
	}
	attributes := req.GetAttributes()
	s, err := a.subject(ctx, remote, attributes)
	d := a.gate.decide(ctx, s, attributes.GetRequest().GetHttp().GetMethod(), err)
	if !d.Blocked {
		return &authv3.CheckResponse{
			Status:       &rpcstatus.Status{Code: int32(codes.OK)},
			HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}},
		}, nil
	}
	return a.denied(d, headerLines(attributes.GetRequest().GetHttp(), "accept")), nil
}

// subject returns the client of a call. Envoy speaks of its own peer as source and passes on the
// X-Forwarded-For of the request, which ends in the source too if use_remote_address is set:
// together they are the chain. Metadata of the call is never read: any hop on the way can add to
// it.
func (a *extAuthz) subject(ctx context.Context, remote string, attributes *authv3.AttributeContext) (checker.Subject, error) {
	from := a.clients.peer(remote)
	s := checker.Subject{IP: from.addr}
	source, known := sourceAddr(attributes)
	a.gate.cameFrom(from, known && source != from.addr)
	if !from.trusted {
		if known {
			a.gate.distrusted(ctx, remote)
		}
		if !from.addr.IsValid() {
			return s, checker.ErrNoClient
		}
		return s, nil
	}
	request := attributes.GetRequest().GetHttp()
	s.Path = uriPath(request.GetPath())
	identErr := a.clients.identify(&s, func(header string) []string { return identityLines(request, strings.ToLower(header)) })
	if !known {
		return s, checker.ErrNoClient
	}
	s.IP = source
	proxies := a.clients.proxies
	proxies.Header = checker.HeaderXForwardedFor // Envoy knows no other
	client, err := proxies.Client(appendSource(headerLines(request, "x-forwarded-for"), source))
	if err != nil {
		return s, err
	}
	s.IP = client
	return s, identErr
}

func sourceAddr(attributes *authv3.AttributeContext) (netip.Addr, bool) {
	return checker.ParseAddr(attributes.GetSource().GetAddress().GetSocketAddress().GetAddress())
}

// appendSource makes source the last element of the chain, unless it is that already.
func appendSource(lines []string, source netip.Addr) []string {
	if n := len(lines); n > 0 {
		last := lines[n-1]
		if addr, ok := checker.ParseAddr(last[strings.LastIndexByte(last, ',')+1:]); ok && addr == source {
			return lines
		}
	}
	return append(lines, source.String())
}

// headerLines returns the values of a header: of the raw ones if Envoy sends these
// (encode_raw_headers), else of the merged ones. name is in lower case, as Envoy's are.
func headerLines(request *authv3.AttributeContext_HttpRequest, name string) []string {
	raw := request.GetHeaderMap()
	if raw == nil {
		if value, ok := request.GetHeaders()[name]; ok {
			return []string{value}
		}
		return nil
	}
	var lines []string
	for _, h := range raw.GetHeaders() {
		if h.GetKey() != name {
			continue
		}
		if value := h.GetRawValue(); len(value) > 0 {
			lines = append(lines, string(value))
		} else {
			lines = append(lines, h.GetValue())
		}
	}
	return lines
}

// identityLines is headerLines for a header that may be there once only. In merged headers a
// comma may be where Envoy joined two.
func identityLines(request *authv3.AttributeContext_HttpRequest, name string) []string {
	lines := headerLines(request, name)
	if request.GetHeaderMap() == nil && len(lines) == 1 {
		return strings.Split(lines[0], ",")
	}
	return lines
}

// denied makes the answer that Envoy gives the client for us. Why goes into dynamic metadata, for
// access logs, and never to the client.
func (a *extAuthz) denied(d checker.Decision, accept []string) *authv3.CheckResponse {
	if _, ok := typev3.StatusCode_name[int32(d.StatusCode)]; !ok { //nolint:gosec // 400 to 599
		d.StatusCode = a.status
	}
	contentType, body := "text/plain; charset=utf-8", d.Message
	if prefersJSON(accept) {
		contentType, body = "application/problem+json", string(problem(d))
	}
	headers := []*corev3.HeaderValueOption{
		setHeader("content-type", contentType), setHeader("cache-control", "no-store"), setHeader("x-content-type-options", "nosniff"),
		setHeader(strings.ToLower(checker.HeaderDenied), "true"),
	}
	if d.RetryAfter > 0 {
		headers = append(headers, setHeader("retry-after", strconv.FormatInt(int64(d.RetryAfter/time.Second), 10)))
	}
	res := &authv3.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(codes.PermissionDenied)},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode(d.StatusCode)}, Headers: headers, Body: strings.ToValidUTF8(body, "�"), //nolint:gosec // 400 to 599
		}},
	}
	if a.reasons {
		res.DynamicMetadata = &structpb.Struct{Fields: map[string]*structpb.Value{}}
		for name, text := range reasons(d) {
			res.DynamicMetadata.Fields[http.CanonicalHeaderKey(name)] = structpb.NewStringValue(strings.ToValidUTF8(text, "�"))
		}
	}
	return res
}

func setHeader(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}
