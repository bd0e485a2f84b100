package access

import (
	"html"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
)

// problem is why somebody cannot log in, or was not logged in.
type problem string

const (
	problemUnavailable problem = "unavailable"
	problemNoLogin     problem = "no_login"
	problemStale       problem = "stale"
	problemRefused     problem = "refused"
	problemLimited     problem = "limited"
)

// loginView is what the login page shows.
type loginView struct {
	Language string
	// Stylesheet and Icon are their paths; empty for none.
	Stylesheet, Icon string
	// Next is where a login leads to.
	Next    string
	Problem problem
	// User is who is logged in; nil for nobody.
	User                *User
	CanLogIn, CanLogOut bool
}

// roles are the roles of the user, for display.
func (v loginView) roles() string {
	var names []string
	for _, role := range v.User.Roles {
		names = append(names, string(role))
	}
	return strings.Join(names, ", ")
}

var loginTexts = map[string]map[string]string{
	"en": {
		"title": "Log in", "login": "Log in", "again": "Try again", "overview": "Overview", "logout": "Log out", "as": "You are logged in as", "roles": "Your roles:",
		"no_roles":    "You have no role here, so there is nothing that you may see. Ask whoever runs Gatewright to give a group of yours a role.",
		"unavailable": "The login service does not answer at the moment. Whoever is logged in can go on working. Try again in a minute.",
		"no_login":    "Nobody can log in here: dashboard.auth of the server file names no login service, or a proxy must send you here.",
		"stale":       "This login has expired, or was begun in another window. Log in again.",
		"refused":     "The login was refused. If you may log in, try again, and otherwise ask whoever runs Gatewright: its log says why.",
		"limited":     "Too many logins from your address failed. Wait a minute and try again.",
	},
	"zh": {
		"title": "登录", "login": "登录", "again": "重试", "overview": "概览", "logout": "退出登录", "as": "您已登录为", "roles": "您的角色：",
		"no_roles":    "您在此没有任何角色，因此没有可以查看的内容。请联系 Gatewright 的管理员，为您所在的组分配角色。",
		"unavailable": "登录服务暂时没有响应。已登录的用户可以继续工作。请稍后重试。",
		"no_login":    "此处无法登录：服务器配置文件的 dashboard.auth 未指定登录服务，或者必须通过代理访问。",
		"stale":       "本次登录已过期，或是在另一个窗口中开始的。请重新登录。",
		"refused":     "登录被拒绝。如果您有权登录，请重试；否则请联系 Gatewright 的管理员，其日志中记录了原因。",
		"limited":     "来自您的地址的登录失败次数过多。请等待一分钟后重试。",
	},
}

// html is the page. It is written by hand, because html/template makes the linker keep every exported
// method of the program, a third more of it; each text from outside goes through esc.
func (v loginView) html() string {
	esc, text := html.EscapeString, func(key string) string { return html.EscapeString(loginTexts[v.Language][key]) }
	link := func(path, label string) string {
		return `<p><a class="button" href="` + path + "?next=" + esc(url.QueryEscape(v.Next)) + `">` + text(label) + "</a></p>\n"
	}
	var b strings.Builder
	b.WriteString(`<!doctype html>
<html lang="` + esc(v.Language) + `">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>` + text("title") + ` · Gatewright</title>`)
	if v.Stylesheet != "" {
		b.WriteString(`<link rel="stylesheet" href="` + esc(v.Stylesheet) + `">`)
	}
	if v.Icon != "" {
		b.WriteString(`<link rel="icon" href="` + esc(v.Icon) + `" type="image/svg+xml">`)
	}
	b.WriteString(`</head>
<body><main class="login"><div class="card"><h1>Gatewright</h1>
`)
	if v.Problem != "" {
		b.WriteString(`<p role="alert">` + text(string(v.Problem)) + "</p>\n")
	}
	switch {
	case v.User != nil:
		b.WriteString("<p>" + text("as") + " <strong>" + esc(v.User.Name) + "</strong></p>\n")
		if roles := v.roles(); roles != "" {
			b.WriteString("<p>" + text("roles") + " " + esc(roles) + "</p>\n" + `<p><a class="button" href="/">` + text("overview") + "</a></p>\n")
		} else {
			b.WriteString("<p>" + text("no_roles") + "</p>\n")
		}
		if v.CanLogOut {
			b.WriteString(`<form method="post" action="` + logoutPath + `"><button type="submit">` + text("logout") + "</button></form>\n")
		}
	case v.CanLogIn && v.Problem == "":
		b.WriteString(link(startPath, "login"))
	case v.CanLogIn:
		b.WriteString(link(startPath, "again"))
	case v.Problem == problemUnavailable:
		b.WriteString(link(loginPath, "again"))
	}
	b.WriteString("</div></main></body></html>\n")
	return b.String()
}

func (s *Service) render(c echo.Context, status int, page loginView) error {
	page.Stylesheet, page.Icon = s.opts.Stylesheet, s.opts.Icon
	page.Language = language(c.Request().Header.Get("Accept-Language"))
	h := c.Response().Header()
	h.Set("Vary", "Accept-Language")
	if status == http.StatusTooManyRequests {
		h.Set("Retry-After", "60")
	}
	return c.HTML(status, page.html())
}

// language is zh where a browser prefers Chinese, otherwise en (RFC 9110, section 12.5.4).
func language(accepted string) string {
	best, quality := "en", 0.0
	for i, part := range strings.Split(accepted, ",") {
		if i == 20 {
			break
		}
		tag, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		q := 1.0
		if value, found := strings.CutPrefix(strings.TrimSpace(weight), "q="); found {
			var err error
			if q, err = strconv.ParseFloat(value, 64); err != nil {
				continue
			}
		}
		if q > quality && slices.Contains([]string{"en", "zh"}, primary) {
			best, quality = primary, q
		}
	}
	return best
}
