package dashboard

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/access"
)

// page is what the templates of a page know beside what they show.
type page struct {
	title    string
	language language
	// path is the address, query what it asks for, without what says how.
	path  string
	query url.Values
	user  access.User
	now   time.Time
	d     *Dashboard
	// notice is what was done just now; empty for nothing.
	notice string
}

// newPage reads how a page is wanted.
func (d *Dashboard) newPage(c echo.Context) *page {
	query := c.QueryParams()
	p := &page{path: c.Request().URL.Path, query: url.Values{}, now: d.opts.Now(), d: d, language: languageOf(c)}
	for name, values := range query {
		if name != "lang" && name != "live" && name != "done" {
			p.query[name] = values
		}
	}
	if query.Get("done") != "" {
		p.notice = p.T("Done: it is noted with your name and your reason.")
	}
	return p
}

// languageCookie keeps the language that somebody chose.
const languageCookie = "gatewright_language"

// languageOf is the language that the address asks for, which a cookie then keeps; else that of the cookie,
// else the one of ours that the browser prefers, else English.
func languageOf(c echo.Context) language {
	for _, l := range languages() {
		if c.QueryParam("lang") == string(l) {
			c.SetCookie(&http.Cookie{
				Name: languageCookie, Value: string(l), Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.IsTLS(),
			})
			return l
		}
	}
	if cookie, err := c.Cookie(languageCookie); err == nil {
		for _, l := range languages() {
			if cookie.Value == string(l) {
				return l
			}
		}
	}
	return preferred(c.Request().Header.Get("Accept-Language"))
}

// preferred is the language of ours that an Accept-Language names first with the highest weight.
func preferred(accepted string) language {
	best, weight := english, 0.0
	for _, item := range strings.Split(accepted, ",") {
		tag, parameters, _ := strings.Cut(strings.TrimSpace(item), ";")
		q := 1.0
		if text, found := strings.CutPrefix(strings.TrimSpace(parameters), "q="); found {
			if _, err := fmt.Sscanf(text, "%f", &q); err != nil {
				q = 0
			}
		}
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		for _, l := range languages() {
			if primary == string(l) && q > weight {
				best, weight = l, q
			}
		}
	}
	return best
}

// T is a text in the page's language; args fill it in as fmt does.
func (p *page) T(text string, args ...any) string {
	if p.language == chinese {
		if translated, known := texts[text]; known {
			text = translated
		}
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// word is a state or another word of ours in the page's language.
func (p *page) word(word string) string { return p.T(strings.ReplaceAll(word, "_", " ")) }

// in is the address of this page with other values of its query; an empty value removes one.
func (p *page) in(pairs ...string) string {
	values := url.Values{}
	for name, list := range p.query {
		values[name] = list
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			values.Del(pairs[i])
		} else {
			values.Set(pairs[i], pairs[i+1])
		}
	}
	if len(values) == 0 {
		return p.path
	}
	return p.path + "?" + values.Encode()
}

// query is a query of names and values.
func query(pairs ...string) string {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			values.Set(pairs[i], pairs[i+1])
		}
	}
	return values.Encode()
}

// clock is a moment in UTC: of today the time, of another day the date too.
func (p *page) clock(t time.Time) string {
	if t.UTC().Format(time.DateOnly) == p.now.UTC().Format(time.DateOnly) {
		return t.UTC().Format(time.TimeOnly)
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// ago is how long ago a moment was, or how long it is until then.
func (p *page) ago(t time.Time) string {
	if t.After(p.now) {
		return p.T("in %s", rough(t.Sub(p.now)))
	}
	return p.T("%s ago", rough(p.now.Sub(t)))
}

// took is a duration as people say it: two units at most.
func took(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
}

// rough is a duration in one unit, so that a live page does not change each second.
func rough(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return "< 10 s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds())/10*10)
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours())/24)
}

// short is a commit or an id as people know it by sight.
func short(id string) string {
	if len(id) > 10 {
		return id[:10]
	}
	return id
}
