package credential

import (
	"net/http"
	"slices"

	"golang.org/x/net/http/httpguts"

	"github.com/keycycler/keycycler/internal/provider"
)

// Trailer returns a copy of a client's trailer fields without those that no
// trailer may have (RFC 9110 §6.5.1), announced or not: an upstream that merges them
// into the header would be framed, routed or authenticated by what comes last, and
// credentials of the client's would stand beside the pool's key, which the header
// called carrier holds. nil stays nil.
func Trailer(trailer http.Header, carrier string) http.Header {
	if trailer == nil {
		return nil
	}
	kept := make(http.Header, len(trailer))
	for name, values := range trailer {
		if passesAsTrailer(name, carrier) {
			kept[name] = slices.Clone(values)
		}
	}
	return kept
}

func passesAsTrailer(name, carrier string) bool {
	plain := dashed(name)
	return httpguts.ValidTrailerHeader(plain) && plain != carrier && plain != ProtocolHeader &&
		!slices.Contains(provider.CredentialHeaders, plain) && !slices.Contains(provider.AccountHeaders, plain)
}
