package sdk

import (
	"strings"
	"testing"
)

// Keys that are pasted into the page serve at once; what is no key adds none of them. What
// was pasted is in no address, and in the page only until it is added.
func TestPageAdds(t *testing.T) {
	eachPage(t, func(s *scene) {
		added := pool{"main", 50, 3}
		secrets := func(when string) {
			s.Helper()
			texts := append(get[[]string](s.page, "requests"), get[string](s.page, "html"), get[string](s.page, "url"), s.page.visit(s.url).Text)
			for _, text := range texts {
				if strings.Contains(text, added.key(0)) || strings.Contains(text, added.key(2)) {
					s.Errorf("%s the key is in %.400s", when, text)
				}
			}
		}
		s.page.do("click", "#add summary")
		s.page.do("fill", "#add-keys", added.key(0)+"\nBearer "+added.key(2)+"\n")
		s.page.do("click", "#add button")
		s.page.show("#notice.failed:has-text(\"No key was added: line 2: 'Bearer' stands in front\")")
		s.page.do("forgive", "status of 422")
		secrets("when nothing was added")

		s.page.do("click", "#add summary")
		s.page.do("fill", "#add-keys", mainPool.key(0)+"\n"+added.key(0)+" fresh\nOPENAI_API_KEY=\""+added.key(1)+"\"\n")
		s.page.do("click", "#add button")
		s.page.show("#notice:has-text('2 keys were added. Left out, since it was there: line 1.')")
		s.page.show("#k" + idOf(added.key(0)) + ":has-text('fresh')")
		if left := get[string](s.page, "value", "#add-keys"); left != "" {
			s.Errorf("the form still has %q", left)
		}
		secrets("when keys were added")
		s.expectState(added.key(1), "ready")
		s.expect(append(allBut(), added.key(0), added.key(1))...)
	})
}
