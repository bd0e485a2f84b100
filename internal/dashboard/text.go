package dashboard

// language is one of the languages of the pages.
type language string

const (
	english language = "en"
	chinese language = "zh"
)

func languages() []language { return []language{english, chinese} }

// name is what the language calls itself.
func (l language) name() string {
	if l == chinese {
		return "中文"
	}
	return "English"
}

var texts = map[string]string{}
