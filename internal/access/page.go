package access

import (
	"bytes"
	"html/template"
	"net/http"
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
	// Next is where a login leads to.
	Next    string
	Problem problem
	// User is who is logged in; nil for nobody.
	User                *User
	CanLogIn, CanLogOut bool
}

// Text is a text of the page in its language.
func (v loginView) Text(key string) string { return loginTexts[v.Language][key] }

// RoleNames are the roles of the user, for display.
func (v loginView) RoleNames() string {
	var names []string
	for _, role := range v.User.Roles {
		names = append(names, string(role))
	}
	return strings.Join(names, ", ")
}

var loginTexts = map[string]map[string]string{
	"en": {
		"title": "Log in", "login": "Log in", "again": "Try again", "logout": "Log out", "as": "You are logged in as", "roles": "Your roles:",
		"no_roles":    "You have no role here, so there is nothing that you may see. Ask whoever runs Gatewright to give a group of yours a role.",
		"unavailable": "The login service does not answer at the moment. Whoever is logged in can go on working. Try again in a minute.",
		"no_login":    "Nobody can log in here: dashboard.auth of the server file names no login service, or a proxy must send you here.",
		"stale":       "This login has expired, or was begun in another window. Log in again.",
		"refused":     "The login was refused. If you may log in, try again, and otherwise ask whoever runs Gatewright: its log says why.",
		"limited":     "Too many logins from your address failed. Wait a minute and try again.",
	},
	"zh": {
		"title": "登录", "login": "登录", "again": "重试", "logout": "退出登录", "as": "您已登录为", "roles": "您的角色：",
		"no_roles":    "您在此没有任何角色，因此没有可以查看的内容。请联系 Gatewright 的管理员，为您所在的组分配角色。",
		"unavailable": "登录服务暂时没有响应。已登录的用户可以继续工作。请稍后重试。",
		"no_login":    "此处无法登录：服务器配置文件的 dashboard.auth 未指定登录服务，或者必须通过代理访问。",
		"stale":       "本次登录已过期，或是在另一个窗口中开始的。请重新登录。",
		"refused":     "登录被拒绝。如果您有权登录，请重试；否则请联系 Gatewright 的管理员，其日志中记录了原因。",
		"limited":     "来自您的地址的登录失败次数过多。请等待一分钟后重试。",
	},
}

var loginTemplate = template.Must(template.New("login").Parse(`<!doctype html>
<html lang="{{.Language}}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>{{.Text "title"}} · Gatewright</title></head>
<body><main><h1>Gatewright</h1>
{{with .Problem}}<p role="alert">{{$.Text (print .)}}</p>{{end}}
{{if .User}}<p>{{.Text "as"}} <strong>{{.User.Name}}</strong>.</p>
{{if .User.Roles}}<p>{{.Text "roles"}} {{.RoleNames}}</p>{{else}}<p>{{.Text "no_roles"}}</p>{{end}}
{{if .CanLogOut}}<form method="post" action="/logout"><button type="submit">{{.Text "logout"}}</button></form>{{end}}
{{else if .CanLogIn}}<p><a href="/auth/start?next={{.Next}}">{{if .Problem}}{{.Text "again"}}{{else}}{{.Text "login"}}{{end}}</a></p>
{{else if eq .Problem "unavailable"}}<p><a href="/login?next={{.Next}}">{{.Text "again"}}</a></p>{{end}}
</main></body></html>
`))

func (s *Service) render(c echo.Context, status int, page loginView) error {
	page.Language = language(c.Request().Header.Get("Accept-Language"))
	var body bytes.Buffer
	if err := loginTemplate.Execute(&body, page); err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("Vary", "Accept-Language")
	if status == http.StatusTooManyRequests {
		h.Set("Retry-After", "60")
	}
	return c.HTMLBlob(status, body.Bytes())
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
